package connmgr

import (
	"context"
	"errors"
	"sync"
	"time"

	"traverse.internal/core/mux"
)

// uniqueTaken is the reason with which a unique name's second request is declined when both sides asked at once.
const uniqueTaken = "unique name: the other request stands"

// uniqueNames keeps, for one session, the open channel of each name that was asked for as unique or accepted, and the requests under way.
// Entries go when their channel has ended, at the next look; a session's channel limit bounds them.
type uniqueNames struct {
	mu      sync.Mutex               // guards the fields below
	open    map[string]*mux.Channel  // first live channel opened or accepted under the name
	since   map[string]time.Time     // when the other side's answer to our last request for the name was there; kept for crossing
	pending map[string]*uniqueOpen   // our requests
	asked   map[string]chan struct{} // the other side's that wait for a decision; closed when the last of a name has one
	waiting map[string]int           // how many those are; the mux bounds a session's undecided requests
}

// uniqueOpen is one request for a unique name; everybody who asks meanwhile shares its result.
type uniqueOpen struct {
	done chan struct{}
	ch   *mux.Channel
	err  error
}

// open opens a channel on the session.
func (s *session) open(ctx context.Context, name string, unique bool) (*mux.Channel, error) {
	if unique {
		return s.unique.get(ctx, s, name)
	}
	return s.mux.Open(ctx, name)
}

func ended(ch *mux.Channel) bool {
	select {
	case <-ch.Done():
		return true
	default:
		return false
	}
}

// get returns the name's open channel, or opens it once for all who ask.
func (u *uniqueNames) get(ctx context.Context, s *session, name string) (*mux.Channel, error) {
	u.mu.Lock()
	for u.asked[name] != nil {
		decided := u.asked[name]
		u.mu.Unlock()
		select {
		case <-decided:
		case <-s.mux.Done():
			return nil, s.mux.Err()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		u.mu.Lock()
	}
	if ch := u.open[name]; ch != nil && !ended(ch) {
		u.mu.Unlock()
		return ch, nil
	}
	o := u.pending[name]
	if o == nil {
		o = &uniqueOpen{done: make(chan struct{})}
		if u.pending == nil {
			u.pending = map[string]*uniqueOpen{}
		}
		u.pending[name] = o
		// The request outlives the caller that made it: others wait for it too. The session's end bounds it.
		s.m.spawn(func() { u.request(s, name, o) })
	}
	u.mu.Unlock()
	select {
	case <-o.done:
		return o.ch, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.m.ctx.Done():
		return nil, ErrClosed
	}
}

// claimWait bounds the wait for the other side's request after ours was declined in its favour: it is on its way already, on the same session.
const claimWait = 10 * time.Second

// request opens the channel. Declined because the other side asks for the same name, it leaves the result to claim, which sees that request.
func (u *uniqueNames) request(s *session, name string, o *uniqueOpen) {
	ch, err := s.mux.Open(s.m.ctx, name)
	var declined *mux.DeclinedError
	if errors.As(err, &declined) && declined.Reason == uniqueTaken {
		t := time.NewTimer(claimWait)
		defer t.Stop()
		select {
		case <-o.done:
			return
		case <-t.C:
		case <-s.mux.Done():
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.pending[name] == o:
		u.settleLocked(name, o, ch, err)
		if err == nil {
			u.answeredLocked(name, time.Now())
		}
	case ch != nil: // claim was first
		ch.Close()
	}
}

func (u *uniqueNames) answeredLocked(name string, now time.Time) {
	if u.since == nil {
		u.since = map[string]time.Time{}
	}
	for n, t := range u.since {
		if now.Sub(t) > crossing {
			delete(u.since, n)
		}
	}
	u.since[name] = now
}

func (u *uniqueNames) settleLocked(name string, o *uniqueOpen, ch *mux.Channel, err error) {
	delete(u.pending, name)
	if err == nil {
		u.noteLocked(name, ch)
	}
	o.ch, o.err = ch, err
	close(o.done)
}

// claim decides about a request for a name that we ask for as unique at the same moment: the request of the session's offerer stands.
// It reports whether it has dealt with the request; the others it notes, until decided is called for each.
func (u *uniqueNames) claim(s *session, req *mux.Request) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.pending[req.Name()]
	if o == nil && u.crossedLocked(req) {
		_ = req.Decline(uniqueTaken)
		return true
	}
	if o == nil {
		if u.asked == nil {
			u.asked, u.waiting = map[string]chan struct{}{}, map[string]int{}
		}
		if u.asked[req.Name()] == nil {
			u.asked[req.Name()] = make(chan struct{})
		}
		u.waiting[req.Name()]++
		return false
	}
	if s.offerer == s.m.self {
		_ = req.Decline(uniqueTaken)
		return true
	}
	ch, err := req.Accept()
	if err != nil {
		return true // the session is ending, our own open will say so
	}
	u.settleLocked(req.Name(), o, ch, nil)
	return true
}

// decided takes note of a decision on the other side's request; ch is nil when it was declined. An accepted channel is found by a later unique request for its name.
func (u *uniqueNames) decided(name string, ch *mux.Channel) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ch != nil {
		u.noteLocked(name, ch)
	}
	if u.waiting[name]--; u.waiting[name] <= 0 {
		close(u.asked[name])
		delete(u.asked, name)
		delete(u.waiting, name)
	}
}

func (u *uniqueNames) noteLocked(name string, ch *mux.Channel) {
	if u.open == nil {
		u.open = map[string]*mux.Channel{}
	}
	for n, c := range u.open {
		if ended(c) {
			delete(u.open, n)
		}
	}
	if u.open[name] == nil { // the first stays: callers that are not after a unique one come later
		u.open[name] = ch
	}
}

// crossing is how long an answered request is remembered: the other side's that was read before the answer is looked at within moments.
const crossing = time.Minute

// crossedLocked tells whether the other side's request was on its way when it answered ours: then it was for the same unique channel, and
// its maker has ours. That channel may have ended since.
func (u *uniqueNames) crossedLocked(req *mux.Request) bool {
	return req.Received().Before(u.since[req.Name()])
}
