package mux

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"traverse.internal/core/framing"
)

// Start begins a session on a link that this side called: it is the offerer. It sends HELLO and does not wait for the
// peer's, so channels may be requested at once. The session owns the link when the error is nil. Closing the link must
// end its Reads and Writes.
func Start(link io.ReadWriteCloser, cfg Config) (*Session, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	id := cfg.SessionID
	if id == ([16]byte{}) {
		_, _ = rand.Read(id[:]) // never fails
	}
	s := newSession(Offerer, id, cfg)
	l := s.newLink(link, cfg.Secret)
	l.first = cfg.hello(id)
	s.mu.Lock()
	defer s.unlock()
	s.installLocked(l)
	return s, nil
}

// Opening is the first frame that the caller of a link sent. One of the fields is set.
type Opening struct {
	Hello  *framing.Hello  // a new session: Answer it
	Resume *framing.Resume // a link for the session of that id: AttachAnswer it
}

// Receive reads the first frame of a link that was called from the other side, and not a byte more. It blocks until
// that is there; whoever does not want to wait for ever sets a deadline on the link or closes it. A frame that is
// neither HELLO nor RESUME, or malformed, is a *ProtocolError.
func Receive(link io.Reader) (*Opening, error) {
	m, err := readFirst(link)
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *framing.Hello:
		return &Opening{Hello: m}, nil
	case *framing.Resume:
		return &Opening{Resume: m}, nil
	case *framing.GoAway:
		return nil, &GoAwayError{Code: m.Code, Reason: m.Reason, Remote: true}
	}
	return nil, violation("first frame is %v", m.MessageType())
}

// readFirst reads one frame of channel 0xffff, and nothing behind it.
func readFirst(link io.Reader) (framing.Message, error) {
	var codec framing.Codec = framing.Native{}
	head := make([]byte, codec.HeaderSize())
	if _, err := io.ReadFull(link, head); err != nil {
		return nil, fmt.Errorf("mux: first frame: %w", noEOF(err))
	}
	h, _, err := codec.ParseHeader(head)
	if err != nil {
		return nil, asViolation(err)
	}
	if h.Channel != framing.SessionChannel {
		return nil, violation("first frame is on channel %d", h.Channel)
	}
	body := make([]byte, h.Length) // at most framing.MaxControl
	if _, err := io.ReadFull(link, body); err != nil {
		return nil, fmt.Errorf("mux: first frame: %w", noEOF(err))
	}
	m, err := framing.ParseMessage(body)
	if err != nil {
		return nil, asViolation(err)
	}
	return m, nil
}

// noEOF makes the end of a link an error that is not the end of a stream.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// asViolation gives framing's errors their code.
func asViolation(err error) *ProtocolError {
	var critical *framing.CriticalError
	if errors.As(err, &critical) {
		return &ProtocolError{Code: framing.CodeUnsupported, What: err.Error()}
	}
	var mine *ProtocolError
	if errors.As(err, &mine) {
		return mine
	}
	return violation("%v", err)
}

// Answer begins the session that the caller of the link asked for in op.Hello: this side is the answerer. The session
// owns the link when the error is nil.
func Answer(link io.ReadWriteCloser, op *Opening, cfg Config) (*Session, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if op.Hello == nil {
		return nil, errors.New("mux: answer: the link resumes a session")
	}
	cfg.SessionID = op.Hello.SessionID
	s := newSession(Answerer, cfg.SessionID, cfg)
	l := s.newLink(link, cfg.Secret)
	l.first = cfg.hello(s.id)
	l.greeted = true
	s.mu.Lock()
	defer s.unlock()
	s.helloLocked(op.Hello)
	s.installLocked(l)
	return s, nil
}

// helloLocked takes the peer's limits. What was assumed before was the least that they can be.
func (s *Session) helloLocked(h *framing.Hello) {
	s.limits = limitsOf(h)
	s.accounts = h.AccountLists
	s.out.raise(h.SessionWindow)
	for _, c := range s.channels {
		c.out.raise(s.limits.window)
		c.wakeWriterLocked()
	}
	s.wakeWaitersLocked()
	close(s.helloed)
}

// Refuse tells the caller of a link, whose first frame has been read or cannot be, why it is not taken, and closes it.
// The write may block as long as the link lets it.
func Refuse(link io.WriteCloser, why framing.GoAway) error {
	_, err := link.Write(framing.Native{}.AppendControl(nil, &why))
	return errors.Join(err, link.Close())
}
