package mux

import (
	"context"
	"errors"

	"traverse.internal/core/framing"
)

// maxUnanswered is how many requests are on their way at a time; more wait here for their turn. It is half of the
// MaxPending that a peer has by default, so that a burst is not declined as busy.
const maxUnanswered = 128

// Open asks the peer for a channel of that name and waits for the answer: two frames on the wire, one each way. Names
// need not be unique. Of many at once 128 are asked for at a time.
//
// Errors: *DeclinedError when the peer says no; *OpenError for all else, around ErrTooManyChannels, a *GoAwayError
// while the session drains, a *ResetError, the session's error (net.ErrClosed), the context's, or one that satisfies
// os.ErrDeadlineExceeded when its deadline passed. After the last two the request is taken back by a RESET, and the
// number rests until the peer's.
func (s *Session) Open(ctx context.Context, name string) (*Channel, error) {
	if err := framing.CheckName(name); err != nil {
		return nil, &OpenError{Name: name, Err: err}
	}
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, &OpenError{Name: name, Err: contextError(ctx)}
	case <-s.ended:
		return nil, &OpenError{Name: name, Err: s.Err()}
	}
	c, err := s.request(ctx, name)
	if err != nil {
		<-s.turns
		return nil, &OpenError{Name: name, Err: err}
	}
	select {
	case <-c.answered:
	case <-ctx.Done():
	case <-s.ended:
	}
	s.mu.Lock()
	defer s.unlock()
	switch {
	case c.openErr != nil:
		return nil, openError(name, c.openErr)
	case c.phase != phaseOpening: // accepted, and maybe over already
		return c, nil
	case s.err != nil:
		return nil, &OpenError{Name: name, Err: s.err}
	}
	err = contextError(ctx)
	code := framing.CodeCancelled
	if errors.Is(err, context.DeadlineExceeded) {
		code = framing.CodeTimeout
		s.stats.OpenTimeouts++
	}
	s.resetLocked(c, code, "")
	return nil, &OpenError{Name: name, Err: err}
}

func openError(name string, err error) error {
	var declined *DeclinedError
	if errors.As(err, &declined) {
		return declined
	}
	return &OpenError{Name: name, Err: err}
}

// request sends a request. Before the peer's HELLO it knows of few channels only, and waits for it rather than fail.
func (s *Session) request(ctx context.Context, name string) (*Channel, error) {
	for {
		c, err := s.tryRequest(name)
		if !errors.Is(err, ErrTooManyChannels) || isClosed(s.helloed) {
			return c, err
		}
		select {
		case <-s.helloed:
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-s.ended:
		}
	}
}

func (s *Session) tryRequest(name string) (*Channel, error) {
	s.mu.Lock()
	defer s.unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.drain != nil:
		return nil, s.drain
	case s.outbound >= s.limits.channels:
		return nil, ErrTooManyChannels
	}
	id, ok := s.freeIDLocked()
	if !ok {
		return nil, ErrTooManyChannels
	}
	c := s.newChannelLocked(id, name, false, phaseOpening)
	c.asking = true
	s.requests.push(framing.ChannelRequest{ID: c.id, Name: name})
	s.kickLocked()
	return c, nil
}

// freeIDLocked returns a number of this role's in turn, so that one is used again as late as possible, and only when
// nothing of its last channel can still come: after a change of links not before the peer's ACK, which comes behind the
// RESETs that it repeats (docs/protocol/mux.md 6.4).
func (s *Session) freeIDLocked() (framing.ChannelID, bool) {
	for range ids {
		id := s.role.firstID() + framing.ChannelID(s.nextID)
		s.nextID = (s.nextID + 1) % ids
		used := s.used.has(id)
		if !used || s.ackedHere && s.channels[id] == nil && !s.resting.has(id) {
			return id, true
		}
	}
	return 0, false
}

// rest is a number that is free once the peer has acknowledged what was sent before.
type rest struct {
	id     framing.ChannelID
	before uint64 // position in the retained stream
}

// restLocked keeps a channel's number from being used again until the peer has read its end: until then it may send MAX
// or RESET for it (docs/protocol/mux.md 6.4).
func (s *Session) restLocked(id framing.ChannelID) {
	s.resting.add(id)
	s.rests.push(rest{id: id, before: s.retained.sent})
}

// restedLocked frees numbers after an ACK that came on the present link.
func (s *Session) restedLocked(count uint64) {
	for s.rests.len() > 0 && s.rests.front().before <= count {
		s.resting.remove(s.rests.pop().id)
	}
}

// answeredLocked lets the next request go.
func (c *Channel) answeredLocked() {
	if c.asking {
		c.asking = false
		<-c.s.turns
	}
}

// answerLocked takes the peer's answer to a request. One that nobody waits for is ignored and counted.
func (s *Session) answerLocked(q *framing.ChannelRequest) {
	c := s.channels[q.ID]
	if c == nil || c.phase != phaseOpening {
		s.stats.StrayAnswers++
		return
	}
	close(c.answered)
	if !q.Accepted {
		c.openErr = &DeclinedError{Name: c.name, Reason: q.Reason}
		s.stats.DeclinedByPeer++
		s.removeLocked(c)
		return
	}
	c.answeredLocked()
	c.phase = phaseOpen
	s.stats.Opened++
}
