package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/core/pushwire"
	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// Times of a call. One that is not answered within 30 s is over.
const (
	stagger    = 250 * time.Millisecond // between the addresses of a contact's relays: RFC 8305 §5
	askAgain   = 2 * time.Second        // after all of them have failed, then twice as long each time
	answerWait = 5 * time.Second        // before a request that was pushed is handed in once more: its device may have been busy
)

var (
	errNoRelay = errors.New("it is registered at no relay")
	errNotHere = errors.New("the relay does not have it")
	errBusy    = errors.New("the relay has too much to do")
)

// Send hands a request to the relays of its recipient, until ctx ends. Answers go by the arrival's Reply.
func (r *Route) Send(ctx context.Context, out signalling.Outgoing) error {
	if out.Kind != signalling.Request {
		return nil
	}
	secret, err := r.cfg.Secrets.Of(out.To)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	news := make(chan []netip.AddrPort, 1)
	wg.Go(func() { r.watch(ctx, out.To, news) })

	request := pushwire.Frame{Kind: pushwire.HandIn, Token: pushwire.TokenOf(secret, r.self, out.To, hourOf(time.Now())), Sealed: out.Sealed}
	err = errNoRelay
	var known []netip.AddrPort
	pause, again := askAgain, time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		asking, stop := r.begin(ctx, out.To)
		select {
		case <-ctx.Done():
			stop()
			return err
		case at := <-news:
			if slices.Equal(at, known) {
				stop()
				continue
			}
			known, pause = at, askAgain
		case <-again.C:
		case <-asking.Done():
		}
		if len(known) > 0 && asking.Err() == nil {
			err = r.ask(asking, known, request, func() {})
		}
		heard := asking.Err() != nil && ctx.Err() == nil
		stop()
		if heard { // it is here now, whatever the relay has said a moment ago
			pause = askAgain
			again.Reset(0)
			continue
		}
		again.Reset(pause)
		pause *= 2
	}
}

// begin makes the context of a turn of asking, which Heard ends.
func (r *Route) begin(ctx context.Context, peer identity.DeviceID) (asking context.Context, stop func()) {
	asking, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking[peer] == nil {
		r.asking[peer] = map[*context.CancelFunc]bool{}
	}
	r.asking[peer][&cancel] = true
	return asking, func() {
		r.mu.Lock()
		delete(r.asking[peer], &cancel)
		if len(r.asking[peer]) == 0 {
			delete(r.asking, peer)
		}
		r.mu.Unlock()
		cancel()
	}
}

// Heard says that a device is there now: calls of it that wait for a relay's next word hand their requests in at once.
func (r *Route) Heard(peer identity.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for cancel := range r.asking[peer] {
		(*cancel)()
	}
}

// maxTold is how often a notice is handed in, each time after another look for the relays of who is to get it.
const maxTold = 3

// Notify hands a notice to the relays of its recipient, until one has pushed it or ctx ends. It is part of signalling.Noticer.
func (r *Route) Notify(ctx context.Context, out signalling.Outgoing) error {
	secret, err := r.cfg.Secrets.Of(out.To)
	if err != nil {
		return err
	}
	notice := pushwire.Frame{Kind: pushwire.HandIn, Token: pushwire.TokenOf(secret, r.self, out.To, hourOf(time.Now())), Sealed: out.Sealed}
	err = errNoRelay
	left, done := maxTold, false
	r.cfg.Watch(ctx, out.To, func(at []netip.AddrPort) (more bool) {
		if len(at) == 0 {
			return true
		}
		until, cancel := context.WithCancel(ctx)
		defer cancel()
		err = r.ask(until, at[:min(len(at), maxAsked)], notice, func() { done = true; cancel() })
		left--
		return !done && left > 0
	})
	if done {
		return nil
	}
	return err
}

// watch passes on the relays that are found, the newest only.
func (r *Route) watch(ctx context.Context, peer identity.DeviceID, news chan []netip.AddrPort) {
	r.cfg.Watch(ctx, peer, func(at []netip.AddrPort) bool {
		if len(at) == 0 {
			return true
		}
		select {
		case <-news: // an older one that was not read
		default:
		}
		news <- slices.Clone(at[:min(len(at), maxAsked)]) // the only sender: there is room
		return true
	})
}

// ask hands the request to relays, the later ones only while no earlier one has pushed it, and waits until ctx ends or all have failed. It calls taken once,
// when one has pushed it.
func (r *Route) ask(ctx context.Context, relays []netip.AddrPort, request pushwire.Frame, taken func()) error {
	errs := make([]error, len(relays))
	pushed := make(chan struct{}) // closed by the first that has
	var once sync.Once
	var wg sync.WaitGroup
	for i, at := range relays {
		wg.Go(func() {
			if i > 0 && !waitUnless(ctx, pushed, time.Duration(i)*stagger) {
				return
			}
			errs[i] = r.askOne(ctx, at, request, func() { once.Do(func() { close(pushed); taken() }) })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// waitUnless returns after d, or earlier with false.
func waitUnless(ctx context.Context, unless <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-unless:
		return false
	case <-t.C:
		return true
	}
}

// askOne hands the request to one relay.
func (r *Route) askOne(ctx context.Context, at netip.AddrPort, request pushwire.Frame, pushed func()) (err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = place(at, err)
		}
	}()
	if l := r.own(at); l != nil { // our own relay: the connection is there, and it sees us both anyway
		return r.handIn(ctx, l, request, pushed)
	}
	l, err := dial(ctx, at.String(), unvouched())
	if err != nil {
		r.count(err)
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.kill()
	defer context.AfterFunc(ctx, l.kill)()
	wg.Go(func() { l.readLoop(nil) })
	return r.handIn(ctx, l, request, pushed)
}

// own returns our connection to a relay, where there is one.
func (r *Route) own(at netip.AddrPort) *link {
	for _, k := range r.kept() {
		k.mu.Lock()
		l, addrs := k.link, k.addrs
		k.mu.Unlock()
		if l != nil && slices.Contains(addrs, at) {
			return l
		}
	}
	return nil
}

// handIn hands the request in over a link and waits for answers, until ctx ends or the relay says no.
func (r *Route) handIn(ctx context.Context, l *link, request pushwire.Frame, pushed func()) error {
	for wait := answerWait; ; wait *= 2 {
		err := r.handInOnce(ctx, l, request, pushed, wait)
		if err != nil || ctx.Err() != nil {
			r.count(err)
			return err
		}
	}
}

// handInOnce hands the request in and takes what comes for so long.
func (r *Route) handInOnce(ctx context.Context, l *link, request pushwire.Frame, pushed func(), wait time.Duration) error {
	_, _ = rand.Read(request.Tag[:]) // never fails since Go 1.24
	back, err := l.expect(request.Tag)
	if err != nil {
		return err
	}
	defer l.forget(request.Tag)
	if err := l.write(request); err != nil {
		return err
	}
	due, taken := time.NewTimer(replyTime), false
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.ended:
			return l.err
		case <-due.C:
			if !taken {
				return errSilent
			}
			return nil
		case f := <-back:
			switch {
			case f.Kind == pushwire.Answer:
				r.stats.answers.Add(1)
				r.sink(signalling.Arrival{Sealed: f.Sealed})
			case f.Result == pushwire.NotHere:
				return errNotHere
			case f.Result == pushwire.Busy:
				return errBusy
			case !taken:
				taken = true
				r.stats.pushed.Add(1)
				pushed()
				due.Reset(wait)
			}
		}
	}
}
