package mux

import (
	"context"
	"crypto/hmac"
	"errors"
	"io"

	"traverse.internal/core/framing"
)

// Attach moves the session to a link that this side called, whether it has another one or not: it sends RESUME, waits
// for the peer's, and sends again what the peer has not received. When it returns nil the link carries the session and
// is owned by it; the link before, if there was one, is closed. Otherwise the link is closed, and the session as it
// was: on a link, or lingering.
//
// The exporter is the new link's (framing.ExporterLabel); it binds the RESUME to it. Errors: *UnknownSessionError when
// the peer has no such session, *ResumeError when one side refuses, the session's when it has ended, the context's, the
// link's, and one that satisfies os.ErrDeadlineExceeded when the peer takes longer than 10 s.
func (s *Session) Attach(ctx context.Context, link io.ReadWriteCloser, exporter []byte) error {
	select {
	case s.attachSlot <- struct{}{}:
	case <-ctx.Done():
		_ = link.Close()
		return contextError(ctx)
	}
	defer func() { <-s.attachSlot }()
	ctx, cancel := context.WithTimeout(ctx, firstFrameTime)
	defer cancel()
	unblock := context.AfterFunc(ctx, func() { _ = link.Close() })
	err := s.attach(link, exporter)
	if !unblock() && err != nil {
		err = contextError(ctx)
	}
	if err != nil {
		_ = link.Close()
	}
	return err
}

func (s *Session) attach(link io.ReadWriteCloser, exporter []byte) error {
	m, err := s.beginAttach(exporter)
	if err != nil {
		return err
	}
	answer, err := exchange(link, s.codec, m)
	if err == nil {
		err = s.checkResume(answer, exporter)
	}
	s.mu.Lock()
	defer s.unlock()
	s.attaching--
	s.ackSoonLocked()
	defer s.downIfUnlinkedLocked()
	switch {
	case err != nil:
		return err
	case s.err != nil:
		return s.err
	case s.role == Offerer && answer.Epoch != m.Epoch:
		return &ResumeError{Code: framing.CodeProtocol, What: "answer has another epoch"}
	case answer.Epoch <= s.epoch:
		return &ResumeError{Code: framing.CodeFenced, What: "a newer link was attached meanwhile"}
	}
	return s.resumeLocked(s.newLink(link, exporter), answer, m.Received, nil)
}

// downIfUnlinkedLocked tells that the link was lost, when that was kept back for the sake of an Attach that may replace
// it.
func (s *Session) downIfUnlinkedLocked() {
	if s.link == nil && s.attaching == 0 {
		s.downLocked()
	}
}

// beginAttach makes the RESUME to send. Until attaching is counted down no ACK is sent: the peer must keep what comes
// behind the count in it, and an ACK on the old link could overtake the RESUME on the new one.
func (s *Session) beginAttach(exporter []byte) (*framing.Resume, error) {
	if len(s.cfg.Secret) == 0 {
		return nil, errNoSecret
	}
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return nil, s.err
	}
	if !isClosed(s.helloed) {
		return nil, errNoHello
	}
	m := &framing.Resume{SessionID: s.id, Received: s.received}
	if s.role == Offerer {
		s.lastEpoch++
		m.Epoch = s.lastEpoch
	}
	m.MAC = framing.ResumeMAC(s.key, s.role.side(), m, exporter)
	s.attaching++
	return m, nil
}

// exchange sends a RESUME and reads the answer.
func exchange(link io.ReadWriter, codec framing.Codec, m *framing.Resume) (*framing.Resume, error) {
	if _, err := link.Write(codec.AppendControl(nil, m)); err != nil {
		return nil, noEOF(err)
	}
	answer, err := readFirst(link)
	if err != nil {
		return nil, err
	}
	switch answer := answer.(type) {
	case *framing.Resume:
		return answer, nil
	case *framing.GoAway:
		if answer.Code == framing.CodeUnknown {
			return nil, &UnknownSessionError{ID: m.SessionID, Remote: true}
		}
		return nil, &ResumeError{Code: answer.Code, What: answer.Reason, Remote: true}
	}
	return nil, violation("%v in answer to RESUME", answer.MessageType())
}

// checkResume tells whether the peer sent m for this session over the link of that exporter. It needs no lock.
func (s *Session) checkResume(m *framing.Resume, exporter []byte) error {
	if m.SessionID != s.id {
		return &UnknownSessionError{ID: m.SessionID}
	}
	if len(s.cfg.Secret) == 0 {
		return errNoSecret
	}
	want := framing.ResumeMAC(s.key, s.role.other().side(), m, exporter)
	if !hmac.Equal(want[:], m.MAC[:]) {
		return &ResumeError{Code: framing.CodeProtocol, What: "wrong MAC"}
	}
	return nil
}

// AttachAnswer moves the session to a link that the peer called and on which it sent op.Resume. It is Attach's other
// side: owns and closes the link like that, and tells the peer with GOAWAY why it refuses.
func (s *Session) AttachAnswer(ctx context.Context, link io.ReadWriteCloser, op *Opening, exporter []byte) error {
	if op.Resume == nil {
		_ = link.Close()
		return errors.New("mux: attach: the link does not resume a session")
	}
	err := s.checkResume(op.Resume, exporter)
	if err == nil {
		err = s.attachAnswer(link, op.Resume, exporter)
	}
	if err != nil {
		unblock := context.AfterFunc(ctx, func() { _ = link.Close() })
		_ = Refuse(link, refusal(err))
		unblock()
	}
	return err
}

func (s *Session) attachAnswer(link io.ReadWriteCloser, m *framing.Resume, exporter []byte) error {
	s.mu.Lock()
	defer s.unlock()
	answer := &framing.Resume{SessionID: s.id, Epoch: m.Epoch, Received: s.received}
	switch {
	case s.err != nil:
		return &UnknownSessionError{ID: s.id} // no more
	case !isClosed(s.helloed):
		return errNoHello
	case s.role == Answerer && m.Epoch <= s.epoch:
		return &ResumeError{Code: framing.CodeFenced, What: "epoch is not above the session's"}
	case s.role == Offerer && m.Epoch != 0:
		return &ResumeError{Code: framing.CodeProtocol, What: "epoch is not the answerer's to assign"}
	case s.role == Offerer:
		s.lastEpoch++
		answer.Epoch = s.lastEpoch
	}
	answer.MAC = framing.ResumeMAC(s.key, s.role.side(), answer, exporter)
	return s.resumeLocked(s.newLink(link, exporter), m, s.received, answer)
}

// resumeLocked lets l carry the session: the peer has what m counts, and was told that this side has received. First
// goes out before all else.
func (s *Session) resumeLocked(l *link, m *framing.Resume, received uint64, first *framing.Resume) error {
	if !s.retained.resumable(s.codec, m.Received) {
		return &ResumeError{Code: framing.CodeProtocol, What: "peer has received what is not kept here, or part of a frame"}
	}
	s.retained.ack(m.Received)
	s.ackedHere = false
	l.greeted = true
	l.rxPos, l.txPos = received, m.Received
	s.retained.trim(l.txPos)
	s.epoch = m.Epoch
	if first != nil {
		l.first = first
		s.epoch = first.Epoch
	}
	l.early = s.lostFilesLocked(m.Received)
	s.acked = max(s.acked, received)
	s.stats.Resumes++
	s.installLocked(l)
	s.resyncLocked()
	s.wakeWaitersLocked()
	s.kickLocked()
	return nil
}

// refusal is what the peer is told.
func refusal(err error) framing.GoAway {
	var unknown *UnknownSessionError
	var resume *ResumeError
	switch {
	case errors.As(err, &unknown):
		return framing.GoAway{Code: framing.CodeUnknown, Reason: "unknown session"}
	case errors.As(err, &resume):
		return framing.GoAway{Code: resume.Code, Reason: resume.What}
	}
	return framing.GoAway{Code: framing.CodeUnknown, Reason: "session ended"}
}
