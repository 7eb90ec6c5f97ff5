package muxdecode

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with some bytes, in the words of the vectors.
type Error struct {
	Kind   string // short, malformed, critical, name
	Number uint64 // the critical key; the channel of the request with a bad name
}

func (e Error) Error() string {
	switch e.Kind {
	case "critical":
		return fmt.Sprintf("critical %d", e.Number)
	case "name":
		return fmt.Sprintf("name %04x", e.Number)
	}
	return e.Kind
}

var malformed = Error{Kind: "malformed"}

// maxControl is the longest body on channels 0 and ffff (section 2).
const maxControl = 4096

// field is a row of the page's tables: a key, the vectors' word for it, and a reader that takes its value and returns
// it as text.
type field struct {
	key      uint64
	name     string
	optional bool
	read     func(in *input) (string, error)
	absent   string // what an optional field that is not there reads as
}

// message is a row of the table of section 5.
type message struct {
	name   string
	fields []field
}

var messages = map[uint64]message{
	1: {"HELLO", []field{
		{key: 2, name: "version", read: integer(1, 65535)},
		{key: 3, name: "session", read: bin(16)},
		{key: 4, name: "capabilities", read: integer(0, 1<<64-1)},
		{key: 5, name: "body", read: integer(16380, 1<<32-1)},
		{key: 6, name: "window", read: integer(262144, 1<<62)},
		{key: 7, name: "sessionWindow", read: integer(1048576, 1<<62)},
		{key: 8, name: "channels", read: integer(16, 1<<32-1)},
		{key: 9, name: "accounts", read: accounts, optional: true, absent: "[]"},
	}},
	2: {"MAX", []field{
		{key: 2, name: "channel", read: channel},
		{key: 3, name: "offset", read: integer(0, 1<<62)},
	}},
	3: {"MAX_SESSION", []field{{key: 2, name: "offset", read: integer(0, 1<<62)}}},
	4: {"ACK", []field{{key: 2, name: "count", read: integer(0, 1<<62)}}},
	5: {"BEACON", []field{
		{key: 2, name: "nonce", read: integer(0, 1<<64-1)},
		{key: 3, name: "answer", read: boolean},
	}},
	6: {"RESET", []field{
		{key: 2, name: "channel", read: channel},
		{key: 3, name: "code", read: integer(0, 65535)},
		{key: 4, name: "reason", read: reason, optional: true, absent: `""`},
	}},
	7: {"GOAWAY", []field{
		{key: 2, name: "code", read: integer(0, 65535)},
		{key: 3, name: "reason", read: reason, optional: true, absent: `""`},
	}},
	8: {"RESUME", []field{
		{key: 2, name: "session", read: bin(16)},
		{key: 3, name: "epoch", read: integer(0, 1<<32-1)},
		{key: 4, name: "received", read: integer(0, 1<<62)},
		{key: 5, name: "mac", read: bin(32)},
	}},
}

// Message decodes a body of channel ffff (section 5).
func Message(body []byte) (string, error) {
	if len(body) > maxControl {
		return "", malformed
	}
	in := input(body)
	head, err := in.expect(kindMap)
	if err != nil {
		return "", err
	}
	if head.count == 0 {
		return "", malformed
	}
	zero, err := in.expect(kindInteger)
	if err != nil {
		return "", err
	}
	number, err := in.expect(kindInteger)
	if err != nil {
		return "", err
	}
	if zero.number != 0 || number.number == 0 || number.number > 65535 {
		return "", malformed
	}
	m, known := messages[number.number]
	if !known {
		m = message{name: "UNKNOWN type=" + strconv.FormatUint(number.number, 10)}
	}
	values, err := m.read(&in, head.count-1, known)
	if err != nil {
		return "", err
	}
	if len(in) > 0 {
		return "", malformed
	}
	return m.text(values), nil
}

// read takes the pairs behind the type and returns the fields' values by key.
func (m message) read(in *input, pairs uint64, known bool) (map[uint64]string, error) {
	values := map[uint64]string{}
	last := uint64(0)
	for range pairs {
		key, err := in.expect(kindInteger)
		if err != nil {
			return nil, err
		}
		if key.number <= last {
			return nil, malformed
		}
		last = key.number
		if last == 1 {
			err = m.critical(in, known)
		} else if f := m.field(last); f != nil {
			values[last], err = f.read(in)
		} else {
			err = in.skip(maxDepth)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, f := range m.fields {
		if _, seen := values[f.key]; seen {
			continue
		}
		if !f.optional {
			return nil, malformed
		}
		values[f.key] = f.absent
	}
	return values, nil
}

func (m message) field(key uint64) *field {
	i := slices.IndexFunc(m.fields, func(f field) bool { return f.key == key })
	if i < 0 {
		return nil
	}
	return &m.fields[i]
}

// critical takes the list of key 1.
func (m message) critical(in *input, known bool) error {
	list, err := in.expect(kindArray)
	if err != nil {
		return err
	}
	for range list.count {
		key, err := in.expect(kindInteger)
		if err != nil {
			return err
		}
		if key.number == 1 || key.number == 0 && known || m.field(key.number) != nil {
			continue
		}
		return Error{Kind: "critical", Number: key.number}
	}
	return nil
}

func (m message) text(values map[uint64]string) string {
	s := m.name
	for _, f := range m.fields {
		s += " " + f.name + "=" + values[f.key]
	}
	return s
}

// Readers of the common types.

func integer(low, high uint64) func(*input) (string, error) {
	return func(in *input) (string, error) {
		v, err := in.expect(kindInteger)
		if err != nil {
			return "", err
		}
		if v.number < low || v.number > high {
			return "", malformed
		}
		return strconv.FormatUint(v.number, 10), nil
	}
}

func channel(in *input) (string, error) {
	v, err := in.expect(kindInteger)
	if err != nil {
		return "", err
	}
	if v.number < 1 || v.number > 0xfffe {
		return "", malformed
	}
	return fmt.Sprintf("%04x", v.number), nil
}

func boolean(in *input) (string, error) {
	v, err := in.expect(kindBool)
	return strconv.FormatBool(v.number == 1), err
}

func bin(size int) func(*input) (string, error) {
	return func(in *input) (string, error) {
		v, err := in.expect(kindBin)
		if err != nil {
			return "", err
		}
		if len(v.bytes) != size {
			return "", malformed
		}
		return fmt.Sprintf("%x", v.bytes), nil
	}
}

func reason(in *input) (string, error) {
	v, err := in.expect(kindStr)
	if err != nil {
		return "", err
	}
	if len(v.bytes) > 256 || !utf8.Valid(v.bytes) {
		return "", malformed
	}
	return strconv.Quote(string(v.bytes)), nil
}

func accounts(in *input) (string, error) {
	list, err := in.expect(kindArray)
	if err != nil {
		return "", err
	}
	if list.count > 32 {
		return "", malformed
	}
	var pairs []string
	for range list.count {
		pair, err := in.expect(kindArray)
		if err != nil {
			return "", err
		}
		if pair.count != 2 {
			return "", malformed
		}
		key, err := bin(32)(in)
		if err != nil {
			return "", err
		}
		version, err := integer(0, 1<<64-1)(in)
		if err != nil {
			return "", err
		}
		pairs = append(pairs, key+":"+version)
	}
	return "[" + strings.Join(pairs, " ") + "]", nil
}
