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
	mu      sync.Mutex              // guards the fields below
	open    map[string]*mux.Channel // last channel opened or accepted under the name
	pending map[string]*uniqueOpen
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
	case ch != nil: // claim was first
		ch.Close()
	}
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
// It reports whether it has dealt with the request.
func (u *uniqueNames) claim(s *session, req *mux.Request) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.pending[req.Name()]
	if o == nil {
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

// note remembers an accepted channel, so that a later unique request for its name finds it.
func (u *uniqueNames) note(name string, ch *mux.Channel) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.noteLocked(name, ch)
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
	u.open[name] = ch
}
