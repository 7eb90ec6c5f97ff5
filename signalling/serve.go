package signalling

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
)

const (
	// maxHandling requests are handled at the same time; what comes above is dropped and not remembered, so that the
	// caller's next try gets in. A handler gathers candidates and waits for relays: 64 of them hold some 64 sockets and
	// a few megabytes.
	maxHandling = 64

	// maxHandlingPerSender keeps one contact from taking all of them: a handler is held until its answer is carried, which takes as
	// long as the request lives where the DHT is out of reach. A device calls once at a time, and again when that has failed.
	maxHandlingPerSender = 8

	// maxReplies ways back are kept per request: one for each route and some for a peer that moved meanwhile.
	maxReplies = 4
)

// A Handler answers a request. It runs once per request, only for a sender that is verified and allowed, and many may
// run at once. An error means silence. Route says by which way the request came first. The offer belongs to the handler, the answer to the Signaler.
type Handler = func(ctx context.Context, from identity.DeviceID, offer []byte) (answer []byte, err error)

// exchange is a request that was admitted: being handled, answered, or refused.
type exchange struct {
	answer  []byte // sealed; nil unless answered
	replies []func(context.Context, []byte) error
}

// serving is one run of Serve.
type serving struct {
	ctx    context.Context
	handle Handler
	wg     sync.WaitGroup

	// Guarded by the Signaler's mu.
	busy     int                       // handlers and re-sends that run
	busyWith map[identity.DeviceID]int // the same, by sender; no entry is 0
}

// Serve runs the routes and presence, and handle for every request, until ctx ends; then it returns nil, after all it
// started has returned. Only one Serve runs at a time.
func (s *Signaler) Serve(ctx context.Context, handle Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &serving{ctx: ctx, handle: handle, busyWith: map[identity.DeviceID]int{}}
	if !s.begin(v) {
		return ErrServing
	}
	var run []func(context.Context) error
	for _, r := range s.cfg.Routes {
		run = append(run, r.Serve)
	}
	if s.cfg.Presence != nil {
		run = append(run, s.cfg.Presence.Serve)
	}
	err := bounded(ctx, run)
	if ctx.Err() != nil {
		err = nil // asked to end: what the routes say about that is no news
	}
	cancel()
	s.end()
	v.wg.Wait()
	return err
}

func (s *Signaler) begin(v *serving) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != nil {
		return false
	}
	s.serving = v
	return true
}

func (s *Signaler) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = nil
}

// receiveRequest admits a verified request. m.From is who it says: Open checked.
func (s *Signaler) receiveRequest(now time.Time, route string, a Arrival, m Message) {
	if !s.cfg.Allowed(m.From) {
		s.stats.refused.Add(1)
		return
	}
	stranger := !slices.Contains(s.cfg.Peers(), m.From)
	hash := sha256.Sum256(a.Sealed)
	if s.admit(now, route, a, m, hash, stranger) && a.Received != nil {
		a.Received()
	}
}

// admit starts what the request asks for and reports whether it was taken.
func (s *Signaler) admit(now time.Time, route string, a Arrival, m Message, hash [32]byte, stranger bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.serving
	switch {
	case v == nil:
		s.stats.notServing.Add(1)
		return false
	case v.busy >= maxHandling, v.busyWith[m.From] >= maxHandlingPerSender:
		s.stats.busy.Add(1)
		return false
	}
	x, verdict := s.replay.admit(now, m.From, m.ID, m.Expiry.Add(Skew), stranger)
	switch {
	case verdict == admitFull:
		s.stats.replayFull.Add(1)
		return false
	case verdict == admitNew:
		s.stats.requests.Add(1)
		x.addReply(a.Reply)
		s.startLocked(v, m.From, func() { s.handle(v, x, route, m, hash) })
	case x.answer == nil:
		s.stats.repeated.Add(1)
		x.addReply(a.Reply) // handled right now, or refused for ever: this way back is good too
	default:
		s.stats.repeated.Add(1)
		if answer := x.answer; a.Reply != nil {
			s.startLocked(v, m.From, func() { s.countReply(a.Reply(v.ctx, answer)) })
		}
	}
	return true
}

// startLocked runs f as one of the handlers, for from. s.mu is held.
func (s *Signaler) startLocked(v *serving, from identity.DeviceID, f func()) {
	v.busy++
	v.busyWith[from]++
	v.wg.Go(func() {
		f()
		s.mu.Lock()
		defer s.mu.Unlock()
		v.busy--
		if v.busyWith[from]--; v.busyWith[from] == 0 {
			delete(v.busyWith, from)
		}
	})
}

// handle runs the handler and carries the answer. Nobody reads an answer after the request has expired, so the time for
// both ends there.
func (s *Signaler) handle(v *serving, x *exchange, route string, m Message, hash [32]byte) {
	ctx, cancel := context.WithTimeout(s.Traced(v.ctx), MaxLife)
	defer cancel()
	noteRoute(ctx, route)
	body, err := v.handle(ctx, m.From, m.Body)
	if err != nil {
		s.stats.declined.Add(1)
		return
	}
	sealed, err := Seal(s.cfg.Device, Message{
		Kind: Answer, To: m.From, ID: m.ID, Expiry: time.Now().Add(MaxLife), RequestHash: hash, Body: body,
	})
	if err != nil { // the answer is too large: the caller hears nothing, and the handler's tests should have
		s.stats.declined.Add(1)
		return
	}
	s.stats.answers.Add(1)
	s.carry(ctx, m.From, sealed, s.settle(x, sealed))
}

// settle keeps the answer for repeated requests and returns the ways back known so far.
func (s *Signaler) settle(x *exchange, sealed []byte) []func(context.Context, []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	replies := x.replies
	x.answer, x.replies = sealed, nil
	return replies
}

// carry sends an answer by the ways the request came and by every route that keeps answers, and waits for all of them.
func (s *Signaler) carry(ctx context.Context, to identity.DeviceID, sealed []byte, replies []func(context.Context, []byte) error) {
	var wg sync.WaitGroup
	for _, reply := range replies {
		wg.Go(func() { s.countReply(reply(ctx, sealed)) })
	}
	for _, r := range s.cfg.Routes {
		wg.Go(func() { s.countReply(r.Send(ctx, Outgoing{Kind: Answer, To: to, Sealed: sealed})) })
	}
	wg.Wait()
}

func (s *Signaler) countReply(err error) {
	if err != nil {
		s.stats.replyErrors.Add(1)
	}
}

func (x *exchange) addReply(reply func(context.Context, []byte) error) {
	if reply != nil && len(x.replies) < maxReplies {
		x.replies = append(x.replies, reply)
	}
}
