package pushwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ALPN names the protocol in the TLS handshake (RFC 7301).
const ALPN = "traverse-push/1"

// Kind says what a frame is.
type Kind uint8

// The frames, and whose they are: the relay's, a registered device's, a caller's.
const (
	Hello      Kind = 1  // relay: realm of its passwords, up to 127 bytes. The first frame of every connection
	Register   Kind = 2  // device: length of the user's name (1 byte), the name, instance (16), proof (32)
	Registered Kind = 3  // relay: a Verdict (1 byte), proof (32)
	Mailboxes  Kind = 4  // device: 1 when more of the same list follow, else 0 (1 byte); up to 127 tokens of 16 bytes
	HandIn     Kind = 5  // caller: tag (8), token (16), sealed request
	Outcome    Kind = 6  // relay to a caller: tag (8), a Result (1 byte)
	Push       Kind = 7  // relay to a device: tag of the relay's (8), sealed request
	Answer     Kind = 8  // device to the relay: the relay's tag (8), sealed answer; relay to the caller: the caller's tag, the same
	Ping       Kind = 9  // device: nothing
	Pong       Kind = 10 // relay: nothing
)

// Sizes in bytes.
const (
	MaxBody   = 2048 // of a frame
	headerLen = 3    // kind, length
	tagLen    = 8
	tokenLen  = 16
	MaxSealed = MaxBody - tagLen - tokenLen // 2,024; a sealed message of today has 896 or 992
	MaxTokens = (MaxBody - 1) / tokenLen    // 127 of one Mailboxes frame
	maxUser   = 255
	maxRealm  = 127
)

// Verdict is what became of a registration.
type Verdict uint8

// The verdicts.
const (
	Accepted Verdict = 0
	Refused  Verdict = 1 // not a user of this relay
	Full     Verdict = 2 // no room; to be tried again later
)

// Result is what became of a hand-in.
type Result uint8

// The results.
const (
	Pushed  Result = 0
	NotHere Result = 1 // nobody has this mailbox
	Busy    Result = 2 // a limit: of the caller, of its address, of the mailbox, or of who does not read
)

type (
	// A Token names a mailbox: who knows it may hand in, and nothing in it says for whom.
	Token [tokenLen]byte
	// A Tag is chosen by who asks, and comes back with what belongs to it.
	Tag [tagLen]byte
	// An Instance tells the processes apart that register as one user.
	Instance [16]byte
	// A Proof shows that a side has the user's password, on this connection.
	Proof [32]byte
)

// A Frame is one message. Which fields count follows from Kind; Sealed and Tokens are views of the bytes that were parsed.
type Frame struct {
	Kind     Kind
	Realm    string
	User     string
	Instance Instance
	Proof    Proof
	Verdict  Verdict
	More     bool
	Tokens   []byte // of 16 bytes each
	Tag      Tag
	Token    Token
	Sealed   []byte
	Result   Result
}

// ErrFrame is what every refusal of Parse wraps.
var ErrFrame = errors.New("pushwire: bad frame")

// Known reports whether this version has the kind. A frame of another is to be passed over, and counted.
func (k Kind) Known() bool { return k >= Hello && k <= Pong }

// Append appends a frame. It panics when a field is too large: what goes in is checked where it comes from.
func Append(dst []byte, f Frame) []byte {
	begin := len(dst)
	dst = append(dst, byte(f.Kind), 0, 0)
	switch f.Kind {
	case Hello:
		dst = append(dst, f.Realm...)
	case Register:
		dst = append(dst, byte(len(f.User)))
		dst = append(dst, f.User...)
		dst = append(dst, f.Instance[:]...)
		dst = append(dst, f.Proof[:]...)
	case Registered:
		dst = append(dst, byte(f.Verdict))
		dst = append(dst, f.Proof[:]...)
	case Mailboxes:
		more := byte(0)
		if f.More {
			more = 1
		}
		dst = append(dst, more)
		dst = append(dst, f.Tokens...)
	case HandIn:
		dst = append(dst, f.Tag[:]...)
		dst = append(dst, f.Token[:]...)
		dst = append(dst, f.Sealed...)
	case Outcome:
		dst = append(dst, f.Tag[:]...)
		dst = append(dst, byte(f.Result))
	case Push, Answer:
		dst = append(dst, f.Tag[:]...)
		dst = append(dst, f.Sealed...)
	}
	n := len(dst) - begin - headerLen
	if n > MaxBody || len(f.User) > maxUser {
		panic("pushwire: frame too large")
	}
	binary.BigEndian.PutUint16(dst[begin+1:], uint16(n))
	return dst
}

// Parse reads the body of a frame; of one that is not known it reads nothing.
func Parse(kind Kind, b []byte) (f Frame, err error) {
	f.Kind = kind
	ok := false
	switch kind {
	case Hello:
		ok = len(b) <= maxRealm
		f.Realm = string(b)
	case Register:
		if len(b) > 0 {
			n := int(b[0])
			if ok = len(b) == 1+n+len(f.Instance)+len(f.Proof); ok {
				f.User = string(b[1 : 1+n])
				copy(f.Instance[:], b[1+n:])
				copy(f.Proof[:], b[1+n+len(f.Instance):])
			}
		}
	case Registered:
		if ok = len(b) == 1+len(f.Proof) && Verdict(b[0]) <= Full; ok {
			f.Verdict = Verdict(b[0])
			copy(f.Proof[:], b[1:])
		}
	case Mailboxes:
		if ok = len(b) > 0 && b[0] <= 1 && (len(b)-1)%tokenLen == 0; ok {
			f.More, f.Tokens = b[0] == 1, b[1:]
		}
	case HandIn:
		if ok = len(b) > tagLen+tokenLen; ok {
			copy(f.Tag[:], b)
			copy(f.Token[:], b[tagLen:])
			f.Sealed = b[tagLen+tokenLen:]
		}
	case Outcome:
		if ok = len(b) == tagLen+1 && Result(b[tagLen]) <= Busy; ok {
			copy(f.Tag[:], b)
			f.Result = Result(b[tagLen])
		}
	case Push, Answer:
		if ok = len(b) > tagLen && len(b) <= tagLen+MaxSealed; ok {
			copy(f.Tag[:], b)
			f.Sealed = b[tagLen:]
		}
	case Ping, Pong:
		ok = len(b) == 0
	default:
		ok = true
	}
	if !ok {
		return f, fmt.Errorf("%w: kind %d with %d bytes", ErrFrame, kind, len(b))
	}
	return f, nil
}

// A Reader reads frames from a stream. It belongs to one goroutine.
type Reader struct {
	in  io.Reader
	buf []byte
}

// NewReader makes a Reader. It reads no further than a frame's end.
func NewReader(in io.Reader) *Reader { return &Reader{in: in, buf: make([]byte, headerLen)} }

// Next reads a frame. Its views are good until the next call. An end between two frames is io.EOF.
func (r *Reader) Next() (Frame, error) {
	head := r.buf[:headerLen]
	if _, err := io.ReadFull(r.in, head); err != nil {
		return Frame{}, err
	}
	kind, n := Kind(head[0]), int(binary.BigEndian.Uint16(head[1:]))
	if n > MaxBody {
		return Frame{}, fmt.Errorf("%w: %d bytes", ErrFrame, n)
	}
	if len(r.buf) < n {
		r.buf = make([]byte, n)
	}
	body := r.buf[:n]
	if _, err := io.ReadFull(r.in, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Parse(kind, body)
}
