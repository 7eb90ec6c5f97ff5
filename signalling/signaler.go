package signalling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
)

// A Signaler calls devices and is called by them, over any number of routes. It is safe for concurrent use. It starts
// nothing by itself: what runs belongs to a Call or to Serve and has ended when that returns.
type Signaler struct {
	cfg    Config
	starts []time.Duration // of each route, after a call's begin
	stats  stats

	mu      sync.Mutex // guards the fields below
	waiting map[RequestID]*waiter
	replay  replayCache
	noticed map[identity.DeviceID]*noticed
	serving *serving // nil while nobody serves
}

// Config says who may call and by which ways.
type Config struct {
	Device  *identity.Device             // whose messages these are; required
	Allowed func(identity.DeviceID) bool // who may call; required. Asked for every request, after its signature was checked.
	Peers   func() []identity.DeviceID   // the contacts: when the replay cache is full, they still get in; nil: none
	Routes  []Route                      // cheapest first; at least one. Those marked by Beside begin with the one before

	Noticed func(from identity.DeviceID, record []byte) // a contact says that it is here now, and how it is reached; must not block; nil: nobody cares

	Presence Presence // publishes and finds presence; nil: calls that fail are PEER_SILENT

	Stagger  time.Duration // head start of each route over the next one that is not Beside it; default 150 ms, negative: none
	Timeout  time.Duration // how long a call waits for its answer; default 30 s, at most MaxLife
	Patience time.Duration // how long a call waits for a peer without a fresh presence record; default 10 s, negative: Timeout
}

// Defaults. A direct answer over the Internet takes a round trip and the peer's gathering; 150 ms let most of them
// arrive before the first DHT item is stored in vain.
const (
	DefaultStagger  = 150 * time.Millisecond
	DefaultTimeout  = 30 * time.Second
	DefaultPatience = 10 * time.Second
)

// check fills in defaults and names the first thing that is wrong.
func (c *Config) check() error {
	switch {
	case c.Device == nil:
		return errors.New("signalling: config: no device")
	case c.Allowed == nil:
		return errors.New("signalling: config: nothing says who is allowed")
	case len(c.Routes) == 0:
		return errors.New("signalling: config: no routes")
	case c.Timeout < 0 || c.Timeout > MaxLife:
		return fmt.Errorf("signalling: config: timeout %v is not within %v", c.Timeout, MaxLife)
	}
	if c.Peers == nil {
		c.Peers = func() []identity.DeviceID { return nil }
	}
	if c.Stagger == 0 {
		c.Stagger = DefaultStagger
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	c.Stagger = max(c.Stagger, 0)
	if c.Patience < 0 || c.Patience > c.Timeout {
		c.Patience = c.Timeout
	}
	return nil
}

// New makes a Signaler and attaches it to the routes.
func New(cfg Config) (*Signaler, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Routes = slices.Clone(cfg.Routes)
	s := &Signaler{cfg: cfg, waiting: map[RequestID]*waiter{}, replay: newReplayCache(), noticed: map[identity.DeviceID]*noticed{}}
	var start time.Duration
	for i, r := range s.cfg.Routes {
		b, together := r.(beside)
		if together {
			r = b.Route
			s.cfg.Routes[i] = r
		}
		if i > 0 && !together {
			start += cfg.Stagger
		}
		s.starts = append(s.starts, start)
		name := r.Name()
		r.Attach(func(a Arrival) { s.receive(name, a) })
	}
	return s, nil
}

// receive is the sink of all routes: it opens, verifies, and hands on. Whatever is wrong is counted and met with
// silence.
func (s *Signaler) receive(route string, a Arrival) {
	now := time.Now()
	m, err := Open(s.cfg.Device, a.Sealed)
	if err == nil {
		err = m.CheckTime(now)
	}
	switch {
	case errors.Is(err, errExpired), errors.Is(err, errTooFarAhead):
		s.stats.expired.Add(1)
	case err != nil:
		s.stats.bad.Add(1)
	case m.From == s.cfg.Device.ID():
		s.stats.bad.Add(1) // our own words, sent back to us
	case m.Kind == Request:
		s.receiveRequest(now, route, a, m)
	case m.Kind == Answer:
		s.receiveAnswer(route, m)
	case m.Kind == Notice:
		s.receiveNotice(now, a, m)
	default:
		s.stats.bad.Add(1) // presence has its own readers
	}
}

// bounded runs every one of the functions, and returns when all of them have returned.
func bounded(ctx context.Context, run []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(run))
	for i, f := range run {
		wg.Go(func() {
			defer cancel() // the first to end ends the others
			errs[i] = f(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
