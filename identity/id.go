package identity

import (
	"bytes"
	"fmt"
	"strings"
)

// A DeviceID names a device: it is the device's Ed25519 public key. The zero value names nobody.
// It is comparable and serves as a map key.
type DeviceID [32]byte

const (
	alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // RFC 4648 §6

	blockLen  = 13                             // characters guarded by one check digit
	blocks    = 4                              // 52 characters = ceil(256/5)
	groupLen  = 7                              // characters between hyphens
	bareLen   = blocks * (blockLen + 1)        // 56 = 52 + 4 check digits
	textLen   = bareLen + bareLen/groupLen - 1 // 63, with 7 hyphens
	maxIDText = 2 * textLen                    // longer input is refused unread: hyphens may stand anywhere, but not without end
)

// IDFault says what is wrong with the text of a device id.
type IDFault uint8

// The faults of a device id, in the order in which they are looked for.
const (
	FaultAlphabet IDFault = iota + 1 // a character that is not in the base32 alphabet
	FaultLength                      // not 56 characters, hyphens aside
	FaultCheck                       // a check digit does not fit its 13 characters
	FaultPadding                     // the four bits after the key's 256 are not zero
	FaultKey                         // well written, but not a key that is safe to use
)

// An IDError is what ParseDeviceID returns for text that is no device id.
type IDError struct {
	Fault IDFault
	Pos   int  // FaultAlphabet: byte offset in the text
	Char  rune // FaultAlphabet: the character
	Got   int  // FaultLength: characters found, hyphens aside
	Block int  // FaultCheck: which block of 14 characters, 1 to 4; it spans two printed groups
}

func (e *IDError) Error() string {
	switch e.Fault {
	case FaultAlphabet:
		return fmt.Sprintf("identity: device id has %q at offset %d, want letters A to Z and digits 2 to 7", e.Char, e.Pos)
	case FaultLength:
		return fmt.Sprintf("identity: device id has %d characters, want %d (8 groups of 7)", e.Got, bareLen)
	case FaultCheck:
		return fmt.Sprintf("identity: device id is mistyped in group %d or %d: check digit does not fit", 2*e.Block-1, 2*e.Block)
	case FaultPadding:
		return "identity: device id ends wrongly: bits after the key are not zero"
	default:
		return "identity: device id is not a usable Ed25519 key"
	}
}

// ParseDeviceID reads the text form that String writes. Case and hyphens are ignored. Errors are *IDError.
func ParseDeviceID(s string) (DeviceID, error) {
	var digits [bareLen]byte
	n := 0
	if len(s) > maxIDText {
		return DeviceID{}, &IDError{Fault: FaultLength, Got: len(s)}
	}
	for i, r := range s {
		if r == '-' {
			continue
		}
		v, ok := digitOf(r)
		if !ok {
			return DeviceID{}, &IDError{Fault: FaultAlphabet, Pos: i, Char: r}
		}
		if n < bareLen {
			digits[n] = v
		}
		n++
	}
	if n != bareLen {
		return DeviceID{}, &IDError{Fault: FaultLength, Got: n}
	}

	var id DeviceID
	var acc, bits uint // acc holds the bits not yet written to id, at most 4+5
	out := 0
	for b := range blocks {
		block := digits[b*(blockLen+1):][:blockLen+1]
		if luhn(block[:blockLen]) != block[blockLen] {
			return DeviceID{}, &IDError{Fault: FaultCheck, Block: b + 1}
		}
		for _, v := range block[:blockLen] {
			acc, bits = acc<<5|uint(v), bits+5
			if bits >= 8 && out < len(id) {
				bits -= 8
				id[out] = byte(acc >> bits)
				out++
			}
			acc &= 1<<bits - 1
		}
	}
	if acc != 0 {
		return DeviceID{}, &IDError{Fault: FaultPadding}
	}
	if _, err := id.point(); err != nil {
		return DeviceID{}, &IDError{Fault: FaultKey}
	}
	return id, nil
}

// String returns the id as 8 groups of 7 characters with hyphens between them.
func (id DeviceID) String() string {
	b, _ := id.AppendText(make([]byte, 0, textLen))
	return string(b)
}

// Short returns the first group: enough for a person to tell devices apart, not for a program.
func (id DeviceID) Short() string { return id.String()[:groupLen] }

// IsZero reports whether id names nobody.
func (id DeviceID) IsZero() bool { return id == DeviceID{} }

// Compare orders ids as byte strings: -1, 0 or +1.
func (id DeviceID) Compare(other DeviceID) int { return bytes.Compare(id[:], other[:]) }

// AppendText implements encoding.TextAppender with the form of String. It never fails.
func (id DeviceID) AppendText(dst []byte) ([]byte, error) {
	var digits [bareLen]byte
	var acc, bits uint
	in := 0
	for b := range blocks {
		block := digits[b*(blockLen+1):][:blockLen+1]
		for i := range blockLen {
			if bits < 5 {
				acc, bits = acc<<8, bits+8
				if in < len(id) { // the last byte is followed by zero bits
					acc |= uint(id[in])
					in++
				}
			}
			bits -= 5
			block[i] = byte(acc>>bits) & 31
			acc &= 1<<bits - 1
		}
		block[blockLen] = luhn(block[:blockLen])
	}
	for i, v := range digits {
		if i > 0 && i%groupLen == 0 {
			dst = append(dst, '-')
		}
		dst = append(dst, alphabet[v])
	}
	return dst, nil
}

// MarshalText implements encoding.TextMarshaler. The zero id is the empty text.
func (id DeviceID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return id.AppendText(nil)
}

// UnmarshalText implements encoding.TextUnmarshaler. The empty text is the zero id.
func (id *DeviceID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = DeviceID{}
		return nil
	}
	parsed, err := ParseDeviceID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

func digitOf(r rune) (byte, bool) {
	if 'a' <= r && r <= 'z' {
		r -= 'a' - 'A'
	}
	if r >= 0x80 {
		return 0, false
	}
	i := strings.IndexByte(alphabet, byte(r))
	return byte(max(i, 0)), i >= 0
}

// luhn returns the Luhn mod 32 check digit of digits: from the right, every other digit, the last one first, counts
// double, a double of 32 or more as the sum of its two base 32 digits; the check digit makes the total a multiple of 32.
// It changes when any one digit does, and on most swaps of neighbours.
func luhn(digits []byte) byte {
	sum := 0
	for i, d := range digits {
		addend := int(d)
		if (len(digits)-i)%2 == 1 {
			addend *= 2
			addend = addend/32 + addend%32
		}
		sum += addend
	}
	return byte((32 - sum%32) % 32)
}
