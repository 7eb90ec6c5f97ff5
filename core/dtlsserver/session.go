package dtlsserver

import (
	"encoding/binary"
	"sync"
)

// Session is a secured association with one client. Its methods are safe for concurrent use.
type Session struct {
	Protocol string // that was chosen, RFC 7301; empty: none

	inMu    sync.Mutex // guards the fields below
	in      half
	top     uint64 // highest number that was taken
	window  uint64 // bit i: top-i was taken
	repeats uint8  // how often our last flight is yet sent again

	outMu sync.Mutex // guards the fields below
	out   half
	next  uint64
	plain uint64 // our next record in epoch 0

	finished []byte // the last message of our last flight
	adopted  []byte // the whole of it, as it was sent, of a session that was adopted
}

// maxRepeats of a flight of ours, which are asked for by records that anybody could send.
const maxRepeats = 16

// Kind is what a record turned out to be.
type Kind uint8

// The kinds.
const (
	Nothing Kind = iota // forged, repeated, or none of our business
	Data                // content for the application
	Closed              // the client ended the session
	Repeat              // the client did not get our last flight: send Final
)

// Next takes the first record off a datagram and decrypts it in place. What follows it is rest, nil at the end.
func (s *Session) Next(datagram []byte) (kind Kind, content, rest []byte) {
	r, rest, ok := parseRecord(datagram)
	if !ok {
		return Nothing, nil, nil
	}
	switch {
	case r.epoch == 0 && r.kind == typeHandshake:
		if m, _, ok := parseMessage(r.body); ok && m.kind == msgClientKeyExchange && s.repeat() {
			return Repeat, nil, nil
		}
		return Nothing, nil, rest
	case r.epoch != 1 || r.version != version12:
		return Nothing, nil, rest // plain alerts can be forged
	}
	content, ok = s.open(r)
	if !ok {
		return Nothing, nil, rest
	}
	switch r.kind {
	case typeData:
		return Data, content, rest
	case typeAlert:
		if len(content) == 2 && (content[0] == alertFatal || content[1] == alertCloseNotify) {
			return Closed, nil, nil
		}
	case typeHandshake:
		if m, _, ok := parseMessage(content); ok && m.kind == msgFinished && s.repeat() {
			return Repeat, nil, nil
		}
	}
	return Nothing, nil, rest
}

func (s *Session) repeat() bool {
	s.inMu.Lock()
	defer s.inMu.Unlock()
	if s.repeats == 0 {
		return false
	}
	s.repeats--
	return true
}

// Final appends our last flight to dst, in records with new numbers.
func (s *Session) Final(dst []byte) []byte {
	if s.adopted != nil {
		return append(dst, s.adopted...)
	}
	s.outMu.Lock()
	number := s.plain
	s.plain++
	s.outMu.Unlock()
	dst = append(appendRecordHeader(dst, typeChangeCipherSpec, version12, 0, number, 1), 1)
	return s.seal(dst, typeHandshake, s.finished)
}

// open decrypts in place, and refuses what came before or is too old: RFC 6347 §4.1.2.6.
func (s *Session) open(r record) ([]byte, bool) {
	if len(r.body) < explicitLen+tagLen || len(r.body) > explicitLen+MaxContent+tagLen {
		return nil, false
	}
	s.inMu.Lock()
	defer s.inMu.Unlock()
	behind := uint64(0) // how far
	if r.sequence <= s.top {
		behind = s.top - r.sequence
		if behind >= 64 || s.window>>behind&1 == 1 {
			return nil, false
		}
	}
	h := &s.in
	copy(h.nonce[4:], r.body[:explicitLen])
	h.associate(r.kind, r.sequence, len(r.body)-explicitLen-tagLen)
	sealed := r.body[explicitLen:]
	content, err := h.aead.Open(sealed[:0], h.nonce[:], sealed, h.extra[:])
	if err != nil {
		return nil, false
	}
	if ahead := r.sequence - s.top; r.sequence > s.top {
		s.window = s.window<<ahead | 1 // a shift by 64 or more leaves nothing
		s.top = r.sequence
	} else {
		s.window |= 1 << behind
	}
	return content, true
}

// associate fills in what is authenticated besides the content: RFC 5246 §6.2.3.3, RFC 6347 §4.1.2.1. Epoch is 1.
func (h *half) associate(kind uint8, sequence uint64, length int) {
	binary.BigEndian.PutUint64(h.extra[:], 1<<48|sequence)
	h.extra[8] = kind
	binary.BigEndian.PutUint16(h.extra[9:], version12)
	binary.BigEndian.PutUint16(h.extra[11:], uint16(length))
}

// Seal appends a record with the content, which is not dst's, to dst. It returns nil when the content is longer than
// MaxContent, or the session has sent all the records it can.
func (s *Session) Seal(dst, content []byte) []byte { return s.seal(dst, typeData, content) }

// SealClose appends a record that says good-bye.
func (s *Session) SealClose(dst []byte) []byte {
	return s.seal(dst, typeAlert, []byte{alertWarning, alertCloseNotify})
}

func (s *Session) seal(dst []byte, kind uint8, content []byte) []byte {
	if len(content) > MaxContent {
		return nil
	}
	s.outMu.Lock()
	defer s.outMu.Unlock()
	if s.next > maxSequence {
		return nil
	}
	sequence := s.next
	s.next++
	h := &s.out
	// Epoch and number are the explicit nonce, RFC 5288 §3: no key meets a nonce twice.
	binary.BigEndian.PutUint64(h.nonce[4:], 1<<48|sequence)
	h.associate(kind, sequence, len(content))
	dst = appendRecordHeader(dst, kind, version12, 1, sequence, explicitLen+len(content)+tagLen)
	dst = append(dst, h.nonce[4:]...)
	return h.aead.Seal(dst, h.nonce[:], content, h.extra[:])
}
