package signalling

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// waiter is a call that waits for its answer.
type waiter struct {
	peer   identity.DeviceID
	hash   [32]byte    // of the sealed request
	answer chan []byte // holds one; the first valid answer goes in
	by     string      // the route that it came by; set before

	present bool // a fresh record of the peer was found; guarded by Signaler.mu
}

// Calling tells whether a call of the peer waits for its answer now, and whether a record of the peer that holds was found meanwhile.
func (s *Signaler) Calling(peer identity.DeviceID) (calling, present bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		if w.peer == peer {
			calling, present = true, present || w.present
		}
	}
	return calling, present
}

// Call sends offer to peer by all routes together, cheaper ones with a head start, and returns the first valid answer.
// It waits until ctx ends, for Config.Timeout at most, and for Config.Patience when peer has published no presence that
// holds. A call that got no answer returns a *CallError with the reason. The answer belongs to the caller. With a context of Traced, Route
// says afterwards which way the answer came.
func (s *Signaler) Call(ctx context.Context, peer identity.DeviceID, offer []byte) (answer []byte, err error) {
	if peer == s.cfg.Device.ID() {
		return nil, ErrSelf
	}
	m := Message{Kind: Request, To: peer, Expiry: time.Now().Add(s.cfg.Timeout), Body: offer}
	rand.Read(m.ID[:]) // never fails: crypto/rand
	sealed, err := Seal(s.cfg.Device, m)
	if err != nil {
		return nil, err
	}
	w := &waiter{peer: peer, hash: sha256.Sum256(sealed), answer: make(chan []byte, 1)}
	s.wait(m.ID, w)
	defer s.unwait(m.ID)

	s.stats.calls.Add(1)
	answer, err = s.attempt(ctx, w, Outgoing{Kind: Request, To: peer, Sealed: sealed})
	if err != nil {
		s.stats.callsFailed.Add(1)
		return nil, err
	}
	s.stats.callsAnswered.Add(1)
	noteRoute(ctx, w.by)
	return answer, nil
}

// attempt runs the routes and the search for presence, and returns when they have all ended.
func (s *Signaler) attempt(ctx context.Context, w *waiter, out Outgoing) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	sends := make([]error, len(s.cfg.Routes))
	found := make(chan Finding, 1)
	var wg sync.WaitGroup
	for i, r := range s.cfg.Routes {
		wg.Go(func() { sends[i] = sendAfter(ctx, s.starts[i], r, out) })
	}
	wg.Go(func() { found <- s.find(ctx, w.peer) })
	end := func() {
		cancel()
		wg.Wait()
	}

	finding := FoundNothing
	for {
		select {
		case answer := <-w.answer:
			end()
			return answer, nil
		case finding = <-found:
			if finding == FoundFresh {
				s.mu.Lock()
				w.present = true
				s.mu.Unlock()
				found = nil // keep waiting: the peer is there
				continue
			}
		case <-ctx.Done():
		}
		err := ctx.Err() // before cancel: nil when it was patience that ended
		end()
		select { // an answer may have come meanwhile, and then wins
		case answer := <-w.answer:
			return answer, nil
		case finding = <-found:
		default:
		}
		return nil, s.callError(w.peer, err, finding, sends)
	}
}

func (s *Signaler) callError(peer identity.DeviceID, ended error, finding Finding, sends []error) error {
	if errors.Is(ended, context.Canceled) {
		return &CallError{Peer: peer, Cause: ended}
	}
	cause := errNoAnswer
	var said []string
	for i, err := range sends {
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			said = append(said, s.cfg.Routes[i].Name()+": "+err.Error())
		}
	}
	if len(said) > 0 {
		cause = fmt.Errorf("%w (%s)", errNoAnswer, strings.Join(said, "; "))
	}
	code := reasonOf(finding)
	if s.cfg.Presence == nil {
		code = reason.PeerSilent
	}
	return &CallError{Peer: peer, Code: code, Cause: cause}
}

// find looks for peer's presence for as long as patience lasts.
func (s *Signaler) find(ctx context.Context, peer identity.DeviceID) Finding {
	if s.cfg.Presence == nil {
		return FoundFresh // nobody looks, so nothing speaks against waiting
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	return s.cfg.Presence.Find(ctx, peer)
}

// sendAfter gives cheaper routes their head start.
func sendAfter(ctx context.Context, delay time.Duration, r Route, out Outgoing) error {
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
	return r.Send(ctx, out)
}

func (s *Signaler) wait(id RequestID, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[id] = w
}

func (s *Signaler) unwait(id RequestID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}

// receiveAnswer gives an answer to the call that waits for it. An answer nobody waits for, whether it is a second one,
// came after the time-out, answers other bytes than we sent or comes from another device, is counted and ignored.
func (s *Signaler) receiveAnswer(route string, m Message) {
	s.mu.Lock()
	w := s.waiting[m.ID]
	if w != nil && w.peer == m.From && w.hash == m.RequestHash {
		delete(s.waiting, m.ID)
	} else {
		w = nil
	}
	s.mu.Unlock()
	if w == nil {
		s.stats.unwanted.Add(1)
		return
	}
	w.by = route
	w.answer <- m.Body // never blocks: it was waiting, and only once
}
