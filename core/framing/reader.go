package framing

import (
	"bytes"
	"io"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// reader reads one body's msgpack through the library's decoder, and stands guard before it: the library takes nil for
// 0, -1 for 2^64-1, a str for a bin, skips extension headers, follows any nesting and allocates for lengths it has not
// seen the bytes of. So each method looks at the next code, and at each length, before the library may act on it. What
// it allocates is bounded by the body's own length.
type reader struct {
	body []byte
	src  bytes.Reader
	dec  *msgpack.Decoder
	what string // name of the message, for errors
}

// reset starts on a new body.
func (r *reader) reset(body []byte, what string) {
	r.body, r.what = body, what
	r.src.Reset(body)
	if r.dec == nil {
		r.dec = msgpack.NewDecoder(&r.src)
		return
	}
	r.dec.Reset(&r.src)
}

// fail returns a ProtocolError about the message that is being read.
func (r *reader) fail(what string) error {
	return &ProtocolError{Where: r.what, What: what}
}

// peek returns the next value's code.
func (r *reader) peek() (byte, error) {
	c, err := r.dec.PeekCode()
	if err != nil {
		return 0, r.fail("ends early")
	}
	return c, nil
}

// end returns an error when bytes are left.
func (r *reader) end() error {
	if r.src.Len() != 0 {
		return r.fail("bytes after the end")
	}
	return nil
}

// mapLen reads the head of a map of at most MaxFields pairs.
func (r *reader) mapLen() (int, error) {
	c, err := r.peek()
	if err != nil {
		return 0, err
	}
	if !isMap(c) {
		return 0, r.fail("not a map")
	}
	n, err := r.dec.DecodeMapLen()
	return r.fields(n, err)
}

// arrayLen reads the head of an array of at most MaxFields elements.
func (r *reader) arrayLen() (int, error) {
	c, err := r.peek()
	if err != nil {
		return 0, err
	}
	if !isArray(c) {
		return 0, r.fail("not an array")
	}
	n, err := r.dec.DecodeArrayLen()
	return r.fields(n, err)
}

// fields checks the length of a map or an array.
func (r *reader) fields(n int, err error) (int, error) {
	switch {
	case err != nil:
		return 0, r.fail("ends early")
	case n > MaxFields:
		return 0, r.fail("more than 64 fields")
	}
	return n, nil
}

// uint reads an integer from 0 to limit, in any of msgpack's forms.
func (r *reader) uint(limit uint64) (uint64, error) {
	c, err := r.peek()
	if err != nil {
		return 0, err
	}
	if c > msgpcode.PosFixedNumHigh && (c < msgpcode.Uint8 || c > msgpcode.Int64) {
		return 0, r.fail("not an unsigned integer")
	}
	n, err := r.dec.DecodeUint64()
	if err != nil {
		return 0, r.fail("ends early")
	}
	signed := c >= msgpcode.Int8 && c <= msgpcode.Int64
	if n > limit || signed && int64(n) < 0 {
		return 0, r.fail("integer out of range")
	}
	return n, nil
}

// bool reads true or false.
func (r *reader) bool() (bool, error) {
	c, err := r.peek()
	if err != nil {
		return false, err
	}
	if c != msgpcode.True && c != msgpcode.False {
		return false, r.fail("not a bool")
	}
	v, err := r.dec.DecodeBool()
	if err != nil {
		return false, r.fail("ends early")
	}
	return v, nil
}

// strBytes reads a str and returns a view of its bytes in the body.
func (r *reader) strBytes() ([]byte, error) {
	c, err := r.peek()
	if err != nil {
		return nil, err
	}
	if !msgpcode.IsString(c) {
		return nil, r.fail("not a str")
	}
	return r.view()
}

// reason reads a str of UTF-8, at most MaxReason bytes.
func (r *reader) reason() (string, error) {
	s, err := r.strBytes()
	switch {
	case err != nil:
		return "", err
	case len(s) > MaxReason:
		return "", r.fail("reason longer than 256 bytes")
	case !utf8.Valid(s):
		return "", r.fail("reason is not UTF-8")
	}
	return string(s), nil
}

// bin reads a bin of exactly len(dst) bytes.
func (r *reader) bin(dst []byte) error {
	c, err := r.peek()
	if err != nil {
		return err
	}
	if !msgpcode.IsBin(c) {
		return r.fail("not a bin")
	}
	v, err := r.view()
	if err != nil {
		return err
	}
	if len(v) != len(dst) {
		return r.fail("bin of a wrong length")
	}
	copy(dst, v)
	return nil
}

// view reads the head of a str or bin, which the caller has seen to be one, and returns its bytes in the body.
func (r *reader) view() ([]byte, error) {
	n, err := r.dec.DecodeBytesLen()
	if err != nil {
		return nil, r.fail("ends early")
	}
	return r.take(n)
}

// take moves over n bytes and returns them.
func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > r.src.Len() {
		return nil, r.fail("ends early")
	}
	at := len(r.body) - r.src.Len()
	if _, err := r.src.Seek(int64(n), io.SeekCurrent); err != nil {
		return nil, r.fail("ends early")
	}
	return r.body[at : at+n], nil
}

// skip moves over one value of any type. Maps and arrays in it are at most depth deep.
func (r *reader) skip(depth int) error {
	c, err := r.peek()
	if err != nil {
		return err
	}
	switch {
	case isMap(c) || isArray(c):
		return r.skipAll(c, depth)
	case msgpcode.IsString(c) || msgpcode.IsBin(c):
		_, err = r.view()
		return err
	case msgpcode.IsExt(c):
		_, n, err := r.dec.DecodeExtHeader()
		if err != nil {
			return r.fail("ends early")
		}
		_, err = r.take(n)
		return err
	}
	if err := r.dec.Skip(); err != nil { // at most 9 bytes; the code 0xc1 is an error
		return r.fail("not msgpack")
	}
	return nil
}

// skipAll moves over the map or array that starts with c.
func (r *reader) skipAll(c byte, depth int) error {
	if depth == 0 {
		return r.fail("nested deeper than 8")
	}
	n, length, perElement := 0, r.arrayLen, 1
	if isMap(c) {
		length, perElement = r.mapLen, 2
	}
	n, err := length()
	if err != nil {
		return err
	}
	for range n * perElement {
		if err := r.skip(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

func isMap(c byte) bool {
	return msgpcode.IsFixedMap(c) || c == msgpcode.Map16 || c == msgpcode.Map32
}

func isArray(c byte) bool {
	return msgpcode.IsFixedArray(c) || c == msgpcode.Array16 || c == msgpcode.Array32
}
