package framing

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// writer appends msgpack to a slice through the library's encoder. Its integers, strings, arrays and maps take the
// shortest form, which docs/protocol/mux.md asks of a sender.
type writer struct {
	b   []byte
	enc *msgpack.Encoder
}

var writers = sync.Pool{New: func() any {
	w := new(writer)
	w.enc = msgpack.NewEncoder(w)
	return w
}}

// newWriter takes a writer that appends to dst.
func newWriter(dst []byte) *writer {
	w := writers.Get().(*writer)
	w.b = dst
	return w
}

// done gives w back and returns what it appended to.
func (w *writer) done() []byte {
	b := w.b
	w.b = nil
	writers.Put(w)
	return b
}

// Write and WriteByte are the encoder's destination; they never fail.

func (w *writer) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *writer) WriteByte(c byte) error {
	w.b = append(w.b, c)
	return nil
}

// must turns an encoder's error, which can only be our mistake, into a panic.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *writer) mapLen(n int)   { must(w.enc.EncodeMapLen(n)) }
func (w *writer) arrayLen(n int) { must(w.enc.EncodeArrayLen(n)) }
func (w *writer) uint(n uint64)  { must(w.enc.EncodeUint(n)) }
func (w *writer) bool(v bool)    { must(w.enc.EncodeBool(v)) }
func (w *writer) str(s string)   { must(w.enc.EncodeString(s)) }

// bin appends the bytes itself, so that the encoder does not make the caller's message escape to the heap.
func (w *writer) bin(v []byte) {
	must(w.enc.EncodeBytesLen(len(v)))
	w.b = append(w.b, v...)
}

// begin starts a session message of n fields, its type included.
func (w *writer) begin(t Type, n int) {
	w.mapLen(n)
	w.uintField(keyType, uint64(t))
}

func (w *writer) uintField(key, n uint64) {
	w.uint(key)
	w.uint(n)
}

func (w *writer) boolField(key uint64, v bool) {
	w.uint(key)
	w.bool(v)
}

func (w *writer) binField(key uint64, v []byte) {
	w.uint(key)
	w.bin(v)
}

// reasonField appends a reason unless it is empty.
func (w *writer) reasonField(key uint64, s string) {
	if s != "" {
		w.uint(key)
		w.str(s)
	}
}

// count returns 1 for a reason that will be written, for the map's length.
func count(reason string) int {
	if reason == "" {
		return 0
	}
	return 1
}

// cutReason makes a reason fit to be sent: UTF-8, at most MaxReason bytes, cut between characters.
func cutReason(s string) string {
	if len(s) <= MaxReason && utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxReason {
		return s
	}
	end := MaxReason
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// AppendChannelRequest appends the body of r's frame, msgpack without the frame's header. It panics when the id is not
// a data channel's or CheckName refuses the name; Reason is cut to MaxReason bytes and sent only in a refusal.
func AppendChannelRequest(dst []byte, r ChannelRequest) []byte {
	if what := checkChannel(r.ID); what != "" {
		panic("framing: ChannelRequest: " + what)
	}
	must(CheckName(r.Name))
	fields, reason := 3, ""
	if r.IsAnswer {
		fields++ // accepted
		if !r.Accepted {
			reason = cutReason(r.Reason)
			fields += count(reason)
		}
	}
	w := newWriter(dst)
	w.mapLen(fields)
	w.str("id")
	w.uint(uint64(r.ID))
	w.str("name")
	w.str(r.Name)
	w.str("isAnswer")
	w.bool(r.IsAnswer)
	if r.IsAnswer {
		w.str("accepted")
		w.bool(r.Accepted)
	}
	if reason != "" {
		w.str("reason")
		w.str(reason)
	}
	return w.done()
}

// AppendMessage appends the body of m's frame, msgpack without the frame's header; it keeps nothing of m. It panics
// when m holds what ParseMessage refuses, and for an *Unknown. Reasons are cut to MaxReason bytes.
func AppendMessage(dst []byte, m Message) []byte {
	what, t := "", TypeRequest
	switch m := m.(type) {
	case *ChannelRequest:
		return AppendChannelRequest(dst, *m)
	case *Max:
		what, t = checkChannel(m.Channel)+checkOffset(m.Offset), TypeMax
	case *MaxSession:
		what, t = checkOffset(m.Offset), TypeMaxSession
	case *Ack:
		what, t = checkOffset(m.Count), TypeAck
	case *Hello:
		what, t = m.check(), TypeHello
	case *Reset:
		what, t = checkChannel(m.Channel), TypeReset
	case *Resume:
		what, t = checkOffset(m.Received), TypeResume
	}
	if what != "" {
		panic("framing: " + t.String() + ": " + what)
	}
	w := newWriter(dst)
	w.message(m)
	return w.done()
}

// message appends a session message that has been checked.
func (w *writer) message(m Message) {
	switch m := m.(type) {
	case *Max:
		w.begin(TypeMax, 3)
		w.uintField(2, uint64(m.Channel))
		w.uintField(3, m.Offset)
	case *MaxSession:
		w.begin(TypeMaxSession, 2)
		w.uintField(2, m.Offset)
	case *Ack:
		w.begin(TypeAck, 2)
		w.uintField(2, m.Count)
	case *Beacon:
		w.begin(TypeBeacon, 3)
		w.uintField(2, m.Nonce)
		w.boolField(3, m.Answer)
	case *Hello:
		w.hello(m)
	case *Reset:
		reason := cutReason(m.Reason)
		w.begin(TypeReset, 3+count(reason))
		w.uintField(2, uint64(m.Channel))
		w.uintField(3, uint64(m.Code))
		w.reasonField(4, reason)
	case *GoAway:
		reason := cutReason(m.Reason)
		w.begin(TypeGoAway, 2+count(reason))
		w.uintField(2, uint64(m.Code))
		w.reasonField(3, reason)
	case *Resume:
		w.begin(TypeResume, 5)
		w.binField(2, m.SessionID[:])
		w.uintField(3, uint64(m.Epoch))
		w.uintField(4, m.Received)
		w.binField(5, m.MAC[:])
	default:
		panic("framing: this message cannot be sent")
	}
}

func (w *writer) hello(m *Hello) {
	fields := 8
	if len(m.AccountLists) > 0 {
		fields++
	}
	w.begin(TypeHello, fields)
	w.uintField(2, uint64(m.Version))
	w.binField(3, m.SessionID[:])
	w.uintField(4, m.Capabilities)
	w.uintField(5, uint64(m.MaxBody))
	w.uintField(6, m.InitialWindow)
	w.uintField(7, m.SessionWindow)
	w.uintField(8, uint64(m.MaxChannels))
	if len(m.AccountLists) == 0 {
		return
	}
	w.uint(9)
	w.arrayLen(len(m.AccountLists))
	for i := range m.AccountLists {
		w.arrayLen(2)
		w.bin(m.AccountLists[i].Account[:])
		w.uint(m.AccountLists[i].Version)
	}
}
