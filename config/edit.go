package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Change is a key and the value it is to have, as a flag would give it: a list has commas. The keys of the second [[relay]] are
// relay[2].url and so on; one more than there are begins another.
type Change struct{ Key, Value string }

// Edit returns the file with the keys set to other values. All else stays as it is, byte for byte: comments, order, spaces. A key that the file does not have
// gets a line at the end of its section, behind the comment that stands for it where there is one (as Template writes it). env is for env:NAME.
//
// Each value is checked by itself, the whole is not: Parse does that.
func Edit(name string, data []byte, env []string, changes ...Change) ([]byte, error) {
	for _, change := range changes {
		var err error
		if data, err = edit(name, data, env, change); err != nil {
			return nil, err
		}
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("config: %s would be longer than %d bytes", name, maxFile)
	}
	return data, nil
}

// Parse checks a file that is not, or not yet, where Load reads: data is what would stand in it.
func Parse(name string, data []byte, env []string, flags map[string]string) (Config, error) {
	return load(name, data, env, flags)
}

func edit(name string, data []byte, env []string, change Change) ([]byte, error) {
	key, relay, err := changed(change.Key)
	if err != nil {
		return nil, err
	}
	text, err := key.written(change.Value, env)
	if err != nil {
		return nil, &Error{Key: key.Name, Err: err}
	}
	r := &fileReader{name: name}
	if err := r.read(data); err != nil {
		return nil, err
	}
	if relay > r.relays {
		return nil, &Error{Key: key.Name, Err: fmt.Errorf("there are %d [[relay]]; the next is relay[%d]", r.relays, r.relays+1)}
	}
	out := place(r, data, key, relay, text)
	if !onlyDiffers(r, name, out, key, relay) {
		return nil, &Error{Key: key.Name, Err: errors.New("the file is written in a way that this cannot change; do it by hand")}
	}
	return out, nil
}

var relayKey = regexp.MustCompile(`^relay\[([1-9][0-9]?)\]\.`)

// changed finds the key of a change, and which [[relay]] it is of.
func changed(name string) (*Key, int, error) {
	relay := 0
	if m := relayKey.FindStringSubmatch(name); m != nil {
		_, _ = fmt.Sscan(m[1], &relay)
		relay--
		name = relayKey.ReplaceAllString(name, "relay.")
	}
	key := byName[name]
	if key == nil {
		return nil, 0, &Error{Err: fmt.Errorf("unknown key %q%s", name, didYouMean(nearestKey(name)))}
	}
	return key, relay, nil
}

// written checks a value and returns it as it stands in a file.
func (k *Key) written(text string, env []string) (string, error) {
	c := Default()
	c.Relays = make([]Relay, 1)
	if err := k.field.set(&c, value{text: text, env: env}); err != nil {
		return "", err
	}
	if k.Type == typeBool || k.Type == typeCount {
		return k.field.get(&c), nil
	}
	if strings.HasPrefix(k.Type, "list of ") && strings.TrimSpace(text) != "" {
		items := strings.Split(text, ",")
		for i := range items {
			items[i] = strings.TrimSpace(items[i])
		}
		text = strings.Join(items, ",")
	}
	return k.toml(text), nil
}

// place writes the key's value where it belongs.
func place(r *fileReader, data []byte, key *Key, relay int, text string) []byte {
	dot := strings.LastIndexByte(key.Name, '.')
	section, last := key.Name[:dot], key.Name[dot+1:]
	insert := func(at int, s string) []byte { return slices.Concat(data[:at], []byte(s), data[at:]) }
	for _, e := range r.entries {
		if e.key == key && (e.value.relay == relay || !isRelay(key.Name)) {
			return slices.Concat(data[:e.at], []byte(text), data[e.end:])
		}
	}
	end := "\n"
	if strings.Contains(string(data), "\r\n") {
		end = "\r\n"
	}
	line := last + " = " + text
	for i, s := range r.spans {
		if s.section != section || section == "relay" && s.relay != relay {
			continue
		}
		switch s.kind {
		case spanTable:
			at, indent := s.end, ""
			for _, next := range r.spans[i+1:] {
				if next.kind == spanTable {
					break
				}
				if next.kind != spanInline {
					at, indent = next.end, indentOf(data, next.begin)
				}
			}
			if note := commented(data[at:], last, r.nextTable(i, len(data))-at); note >= 0 {
				at += note
			} else if s.end != at {
				if note := commented(data[s.end:], last, at-s.end); note >= 0 {
					at = s.end + note
				}
			}
			at += lineEnd(data[at:])
			if at > 0 && data[at-1] != '\n' {
				return insert(at, end+indent+line+end)
			}
			return insert(at, indent+line+end)
		case spanInline:
			if s.empty {
				return insert(s.begin+1, " "+line+" ")
			}
			return insert(s.begin+1, " "+line+",")
		case spanDotted: // `dht.mode = …`: another line of that kind
			at := s.end + lineEnd(data[s.end:])
			dotted := indentOf(data, s.begin) + s.prefix + line
			if data[at-1] != '\n' {
				return insert(at, end+dotted+end)
			}
			return insert(at, dotted+end)
		}
	}
	title := "[" + section + "]"
	if section == "relay" {
		title = "[[relay]]"
	}
	text = title + end + line + end
	switch {
	case len(data) == 0:
		text = "schema = 1" + end + end + text
	case data[len(data)-1] != '\n':
		text = end + end + text
	default:
		text = end + text
	}
	return insert(len(data), text)
}

// commented finds the line that stands for a key, such as #mode = "mainline", in the first n bytes, and returns a place in it; -1: there is none.
func commented(data []byte, last string, n int) int {
	m := regexp.MustCompile(`(?m)^[ \t]*#[ \t]*` + regexp.QuoteMeta(last) + `[ \t]*=`).FindIndex(data[:n])
	if m == nil {
		return -1
	}
	return m[1]
}

// lineEnd is how many bytes there are up to the end of the line, its newline among them.
func lineEnd(data []byte) int {
	for i, c := range data {
		if c == '\n' {
			return i + 1
		}
	}
	return len(data)
}

// indentOf is the white space in front of a place.
func indentOf(data []byte, at int) string {
	from := at
	for from > 0 && (data[from-1] == ' ' || data[from-1] == '\t') {
		from--
	}
	if from > 0 && data[from-1] != '\n' {
		return ""
	}
	return string(data[from:at])
}

// onlyDiffers tells whether what was written is read as what was there, but for the key.
func onlyDiffers(r *fileReader, name string, out []byte, key *Key, relay int) bool {
	now := &fileReader{name: name}
	if now.read(out) != nil {
		return false
	}
	rest := func(list []entry) (texts []string) {
		for _, e := range list {
			if e.key != key || isRelay(key.Name) && e.value.relay != relay {
				texts = append(texts, fmt.Sprintf("%s %+v", e.key.Name, e.value))
			}
		}
		return texts
	}
	return slices.Equal(rest(r.entries), rest(now.entries))
}

// FilePath is a value as a file needs it: paths in a file are relative to the file, on a command line to where it is typed.
func FilePath(change Change) (Change, error) {
	key, _, err := changed(change.Key)
	if err != nil || change.Value == "" || key.Type != typePath && key.Name != relayPasswordFile {
		return change, err
	}
	change.Value, err = filepath.Abs(change.Value)
	return change, err
}

// Words returns what a key may be, "" of any other kind: for completion.
func (k Key) Words() []string {
	if k.Type == typeBool {
		return []string{"true", "false"}
	}
	return k.field.words
}
