package mux

import (
	"context"
	"time"

	"traverse.internal/core/framing"
)

// Reasons with which a session itself declines.
const (
	ReasonBusy      = "busy"              // Config.MaxPending requests wait
	ReasonTooMany   = "too many channels" // Config.MaxChannels are open
	ReasonGoingAway = "going away"        // the session drains
)

// Request is a peer's wish for a channel. It must be accepted or declined, at any time and from any goroutine.
type Request struct {
	c        *Channel
	received time.Time
}

// Name returns the name the peer asked for.
func (r *Request) Name() string { return r.c.name }

// Received returns when the request was read from the link. Requests and answers of the peer are read in the order in
// which it sent them.
func (r *Request) Received() time.Time { return r.received }

// Accept waits for the next request. Several goroutines may wait. It returns the context's error, or the session's once
// that has ended.
func (s *Session) Accept(ctx context.Context) (*Request, error) {
	for {
		r, err := s.takeRequest()
		if r != nil || err != nil {
			return r, err
		}
		select {
		case <-s.inboxReady:
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-s.ended:
		}
	}
}

// takeRequest returns the first request, if there is one.
func (s *Session) takeRequest() (*Request, error) {
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.inbox.len() == 0 {
		return nil, nil
	}
	r := s.inbox.pop()
	if s.inbox.len() > 0 {
		notify(s.inboxReady)
	}
	return r, nil
}

// Accept opens the channel. It fails with ErrWithdrawn when the request was answered before or the peer has reset it,
// and with the session's error once that has ended.
func (r *Request) Accept() (*Channel, error) {
	s, c := r.c.s, r.c
	s.mu.Lock()
	defer s.unlock()
	if err := c.answerableLocked(); err != nil {
		return nil, err
	}
	s.pending--
	c.phase = phaseOpen
	c.opened = time.Now()
	s.stats.Accepted++
	s.answerFrameLocked(framing.ChannelRequest{ID: c.id, Name: c.name, IsAnswer: true, Accepted: true})
	return c, nil
}

// Decline refuses the channel; the reason, 256 bytes of it at most, reaches the peer's *DeclinedError. Errors as in
// Accept.
func (r *Request) Decline(reason string) error {
	s, c := r.c.s, r.c
	s.mu.Lock()
	defer s.unlock()
	if err := c.answerableLocked(); err != nil {
		return err
	}
	s.declineLocked(c.id, c.name, reason)
	s.removeLocked(c)
	return nil
}

func (c *Channel) answerableLocked() error {
	if c.s.err != nil {
		return c.s.err
	}
	if c.phase != phaseRequested {
		return ErrWithdrawn
	}
	return nil
}

func (s *Session) declineLocked(id framing.ChannelID, name, reason string) {
	s.stats.Declined++
	s.answerFrameLocked(framing.ChannelRequest{ID: id, Name: name, IsAnswer: true, Reason: reason})
}

func (s *Session) answerFrameLocked(q framing.ChannelRequest) {
	s.requests.push(q)
	s.answers++
	s.kickLocked()
}

// requestLocked takes the peer's request for a channel.
func (s *Session) requestLocked(q *framing.ChannelRequest) error {
	if err := s.requestableLocked(q.ID); err != nil {
		return err
	}
	reason := ""
	switch {
	case s.drain != nil:
		reason = ReasonGoingAway
	case s.inbound >= s.cfg.MaxChannels:
		reason = ReasonTooMany
	case s.pending >= s.cfg.MaxPending:
		reason = ReasonBusy
	}
	if reason != "" {
		s.used.add(q.ID)
		s.declineLocked(q.ID, q.Name, reason)
		return nil
	}
	c := s.newChannelLocked(q.ID, q.Name, true, phaseRequested)
	s.pending++
	s.inbox.push(&Request{c: c, received: time.Now()})
	notify(s.inboxReady)
	return nil
}

// requestableLocked tells whether the peer may ask for a channel of that number now.
func (s *Session) requestableLocked(id framing.ChannelID) error {
	switch {
	case s.role.owns(id):
		return violation("request for channel %d, which is this side's", id)
	case s.channels[id] != nil:
		return violation("request for channel %d, which is in use", id)
	case s.answers > s.cfg.MaxChannels+s.cfg.MaxPending: // more than can be unanswered
		return &ProtocolError{Code: framing.CodeLimit, What: "requests whose answers are not read"}
	}
	return nil
}

// badNameLocked resets a request whose name cannot be one. There is no answer that could carry the name.
func (s *Session) badNameLocked(id framing.ChannelID) error {
	if err := s.requestableLocked(id); err != nil {
		return err
	}
	if s.inbound >= s.cfg.MaxChannels {
		return &ProtocolError{Code: framing.CodeLimit, What: "bad names beyond the limit of channels"}
	}
	s.resetLocked(s.newChannelLocked(id, "", true, phaseOpen), framing.CodeName, "")
	return nil
}
