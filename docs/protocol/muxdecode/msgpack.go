package muxdecode

// kind is what a msgpack value is, as far as section 3 of the page tells values apart.
type kind int

const (
	kindOther   kind = iota // nil, floats, extensions
	kindInteger             // not negative
	kindNegative
	kindBool
	kindStr
	kindBin
	kindArray
	kindMap
)

// Section 3: what an array or a map may hold, and how deep an unknown field's value may be.
const (
	maxElements = 64
	maxDepth    = 8
)

// value is one msgpack value's head. What is in an array or a map follows it in the input.
type value struct {
	kind   kind
	number uint64 // of an integer; 1 for true
	bytes  []byte // of a str or bin
	count  uint64 // elements of an array, pairs of a map
}

// input is what has not been read yet.
type input []byte

// bytes takes n bytes off the front.
func (in *input) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(*in)) {
		return nil, malformed
	}
	b := (*in)[:n]
	*in = (*in)[n:]
	return b, nil
}

// unsigned takes an integer of size bytes, 1 to 8.
func (in *input) unsigned(size uint64) (uint64, error) {
	b, err := in.bytes(size)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n, nil
}

// next takes one value's head, and of a str, bin or extension its bytes too.
func (in *input) next() (value, error) {
	first, err := in.unsigned(1)
	if err != nil {
		return value{}, err
	}
	switch {
	case first <= 0x7f:
		return value{kind: kindInteger, number: first}, nil
	case first <= 0x8f:
		return value{kind: kindMap, count: first & 0x0f}, nil
	case first <= 0x9f:
		return value{kind: kindArray, count: first & 0x0f}, nil
	case first <= 0xbf:
		return in.sized(kindStr, first&0x1f)
	case first >= 0xe0:
		return value{kind: kindNegative}, nil
	}
	switch first {
	case 0xc0: // nil
		return value{}, nil
	case 0xc2, 0xc3:
		return value{kind: kindBool, number: first & 1}, nil
	case 0xc4, 0xc5, 0xc6:
		return in.prefixed(kindBin, 1<<(first-0xc4), 0)
	case 0xc7, 0xc8, 0xc9: // extension: its type is one byte more
		return in.prefixed(kindOther, 1<<(first-0xc7), 1)
	case 0xca, 0xcb: // float
		return in.sized(kindOther, 4<<(first-0xca))
	case 0xcc, 0xcd, 0xce, 0xcf:
		n, err := in.unsigned(1 << (first - 0xcc))
		return value{kind: kindInteger, number: n}, err
	case 0xd0, 0xd1, 0xd2, 0xd3:
		return in.signed(1 << (first - 0xd0))
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // extension of 1, 2, 4, 8, 16 bytes, and its type
		return in.sized(kindOther, 1+1<<(first-0xd4))
	case 0xd9, 0xda, 0xdb:
		return in.prefixed(kindStr, 1<<(first-0xd9), 0)
	case 0xdc, 0xdd:
		n, err := in.unsigned(2 << (first - 0xdc))
		return value{kind: kindArray, count: n}, err
	case 0xde, 0xdf:
		n, err := in.unsigned(2 << (first - 0xde))
		return value{kind: kindMap, count: n}, err
	}
	return value{}, malformed // c1
}

// sized takes n bytes as a value of that kind.
func (in *input) sized(k kind, n uint64) (value, error) {
	b, err := in.bytes(n)
	return value{kind: k, bytes: b}, err
}

// prefixed takes a length of size bytes, then as many bytes and extra ones.
func (in *input) prefixed(k kind, size, extra uint64) (value, error) {
	n, err := in.unsigned(size)
	if err != nil {
		return value{}, err
	}
	return in.sized(k, n+extra)
}

// signed takes a two's complement integer of size bytes.
func (in *input) signed(size uint64) (value, error) {
	n, err := in.unsigned(size)
	if err != nil {
		return value{}, err
	}
	if n>>(8*size-1) == 1 {
		return value{kind: kindNegative}, nil
	}
	return value{kind: kindInteger, number: n}, nil
}

// expect takes a value of that kind; of arrays and maps one that is not too long.
func (in *input) expect(k kind) (value, error) {
	v, err := in.next()
	if err != nil {
		return value{}, err
	}
	if v.kind != k || v.count > maxElements {
		return value{}, malformed
	}
	return v, nil
}

// skip takes a whole value; depth is how many arrays and maps it may still open.
func (in *input) skip(depth int) error {
	v, err := in.next()
	if err != nil {
		return err
	}
	inside := v.count
	switch v.kind {
	case kindArray:
	case kindMap:
		inside *= 2
	default:
		return nil
	}
	if depth == 0 || v.count > maxElements {
		return malformed
	}
	for range inside {
		if err := in.skip(depth - 1); err != nil {
			return err
		}
	}
	return nil
}
