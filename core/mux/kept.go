package mux

import (
	"context"
	"errors"
	"io"

	"traverse.internal/core/framing"
)

// ErrNotKept is Revive's when there is no link to go back to.
var ErrNotKept = errors.New("mux: no link is kept")

// KeepLink says whether the link that carries the session now is to stay when another replaces it while it lives: idle, with no frame
// on it but a RESUME, so that the session can go back to it in one round trip. What the peer still sends on it is read and thrown away. One link at most is kept; it
// costs its socket, its TLS state and a read buffer (64 KiB). Where the peer does not keep it, it closes. Each link that comes to carry the session begins without.
func (s *Session) KeepLink(on bool) {
	s.mu.Lock()
	defer s.unlock()
	s.keepLink = on
}

// Kept returns the link that is kept, and channels of which the first is closed when it carries the session again, by either
// side's wish, and the second when it is closed. All are nil when none is kept.
func (s *Session) Kept() (link io.ReadWriteCloser, back, gone <-chan struct{}) {
	s.mu.Lock()
	defer s.unlock()
	if s.kept == nil {
		return nil, nil, nil
	}
	return s.kept.rwc, s.kept.back, s.kept.gone
}

// DropKept closes the link that is kept, if one is.
func (s *Session) DropKept() {
	s.mu.Lock()
	defer s.unlock()
	if s.kept != nil {
		s.giveUpLocked(s.kept)
	}
}

// Revive moves the session back to the link that is kept: RESUME there, and the peer's. It returns nil when that carries the session; when the peer has been
// faster, too. With the context's end the link is closed. Errors: ErrNotKept, the session's, ErrLinkDown when the kept link is lost, the context's.
func (s *Session) Revive(ctx context.Context) error {
	s.mu.Lock()
	l := s.kept
	if s.err != nil || l == nil {
		err := s.err
		s.unlock()
		if err == nil {
			err = ErrNotKept
		}
		return err
	}
	if l.asked == nil {
		m := &framing.Resume{SessionID: s.id, Received: s.received}
		if s.role == Offerer {
			s.lastEpoch++
			m.Epoch = s.lastEpoch
		}
		m.MAC = framing.ResumeMAC(s.key, s.role.side(), m, l.exporter)
		l.asked, l.first = m, m
		s.attaching++ // no ACK beyond what m counts: it could overtake m
		notify(l.kick)
	}
	back, gone := l.back, l.gone
	s.unlock()
	ctx, cancel := context.WithTimeout(ctx, firstFrameTime)
	defer cancel()
	select {
	case <-back:
		return nil
	case <-gone:
		return ErrLinkDown
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.unlock()
	if s.kept == l {
		s.giveUpLocked(l)
	}
	if isClosed(back) {
		return nil
	}
	return contextError(ctx)
}

// keepLocked puts the link aside. Its reader and its writer stay.
func (s *Session) keepLocked(l *link) {
	if s.kept != nil {
		s.giveUpLocked(s.kept)
	}
	s.kept, l.kept, l.back = l, true, make(chan struct{})
	l.first, l.early = nil, nil // not written yet; its count is an old one
}

// gatherKeptLocked returns our RESUME where it is due on a kept link, and nothing otherwise.
func (s *Session) gatherKeptLocked(l *link) batch {
	if l.first == nil {
		return batch{}
	}
	b := batch{data: s.codec.AppendControl(nil, l.first)}
	l.first = nil
	s.stats.ControlFramesOut++
	s.stats.LinkWrites++
	s.stats.LinkBytesOut += uint64(b.len())
	return b
}

// unaskLocked ends the wait for the answer to our RESUME on a kept link.
func (s *Session) unaskLocked(l *link) {
	if l.asked != nil {
		l.asked = nil
		s.attaching--
		if s.err == nil {
			s.ackSoonLocked()
			s.downIfUnlinkedLocked()
		}
	}
}

// resumedLocked takes a RESUME on a link that is kept; or on the one in use, where the peer has answered an Attach whose answer was lost, and goes back. It
// is the answer to ours, or the peer's own: then ours, which crossed it, tells the peer what an answer would, and none is sent.
func (s *Session) resumedLocked(l *link, m *framing.Resume) error {
	if s.err != nil {
		return nil
	}
	s.stats.ControlFramesIn++
	if err := s.checkResume(m, l.exporter); err != nil {
		return violation("RESUME on a link that is known: %v", err)
	}
	asked := l.asked
	received, agreed := s.received, *m
	var answer *framing.Resume
	switch {
	case s.role == Answerer && m.Epoch <= s.epoch:
		return errOver // another link was attached meanwhile
	case s.role == Offerer && asked != nil && (m.Epoch == 0 || m.Epoch == asked.Epoch):
		agreed.Epoch = asked.Epoch
	case s.role == Offerer && m.Epoch != 0:
		return violation("RESUME with epoch %d, which is not the answerer's to assign", m.Epoch)
	case asked == nil:
		answer = &framing.Resume{SessionID: s.id, Epoch: m.Epoch, Received: received}
		if s.role == Offerer {
			s.lastEpoch++
			answer.Epoch = s.lastEpoch
		}
		answer.MAC = framing.ResumeMAC(s.key, s.role.side(), answer, l.exporter)
	}
	if agreed.Epoch <= s.epoch && answer == nil {
		return errOver
	}
	if asked != nil {
		received = asked.Received
		l.asked = nil
		s.attaching--
	}
	first := l.first // ours, where the writer has not come to it yet
	if err := s.resumeLocked(l, &agreed, received, answer); err != nil {
		return violation("RESUME on a link that is known: %v", err)
	}
	if answer == nil {
		l.first = first
	}
	return nil
}
