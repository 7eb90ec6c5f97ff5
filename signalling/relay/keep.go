package relay

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"traverse.internal/core/pushwire"
	"traverse.internal/core/stun"
	"traverse.internal/identity"
)

// Times of a registration. What an idle one costs is in docs/protocol/push.md.
const (
	pingEach   = 25 * time.Second // shorter than any NAT forgets a TCP connection after; a relay waits for three
	pingWait   = 10 * time.Second // for the answer
	learnEach  = time.Second      // how soon a new contact can hand in
	firstPause = time.Second      // before the next try, then twice as long each time,
	mostPause  = 5 * time.Minute  // to this; a quarter more or less, so that a relay's devices do not come back together
	longPause  = time.Hour        // when the relay does not push at all
	goodAfter  = time.Minute      // a registration that held for so long was a good one: the pauses begin anew
)

var (
	errRefused = errors.New("it refuses the registration: is this device, or its password, known there?")
	errFull    = errors.New("it has no room")
	errProof   = errors.New("it does not know the password either: this is not our relay")
)

// keeper keeps the registration at one relay.
type keeper struct {
	route *Route
	relay Relay
	wake  chan struct{} // the network has changed

	mu    sync.Mutex // guards the fields below
	link  *link      // nil: not registered
	addrs []netip.AddrPort
	since time.Time // of the registration, or of its end
	err   error     // why there is none
}

func newKeeper(r *Route, relay Relay) *keeper {
	return &keeper{route: r, relay: relay, wake: make(chan struct{}, 1)}
}

// keep registers, again and again, until ctx ends.
func (k *keeper) keep(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := k.session(ctx)
		if ctx.Err() != nil {
			err = nil
		}
		k.set(nil, nil, err)
		if ctx.Err() == nil {
			k.route.stats.failed.Add(1)
		}
		switch {
		case time.Since(began) >= goodAfter:
			pause = firstPause
		case errors.Is(err, errNoPush):
			pause = longPause
		case errors.Is(err, errRefused), errors.Is(err, errProof):
			pause = mostPause
		}
		timer := time.NewTimer(pause*3/4 + rand.N(pause/2))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-k.wake:
			pause = firstPause
		}
		timer.Stop()
		pause = min(2*pause, mostPause)
	}
}

func (k *keeper) set(l *link, addrs []netip.AddrPort, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.link, k.addrs, k.err, k.since = l, addrs, err, time.Now()
}

// addresses are those of the relay, while we are registered.
func (k *keeper) addresses() []netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.addrs
}

// session registers and keeps the registration until it ends, and says why it did.
func (k *keeper) session(ctx context.Context) error {
	l, err := dial(ctx, k.relay.Address, k.config())
	if err != nil {
		return err
	}
	defer l.kill()
	defer context.AfterFunc(ctx, l.kill)()
	if err := k.register(l); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.kill()
	wg.Go(func() { l.readLoop(func(f pushwire.Frame) { k.route.deliver(l, f) }) })
	learnt := &learnt{}
	if err := learnt.tell(k.route, l, time.Now()); err != nil {
		return err
	}
	k.route.stats.registered.Add(1)
	k.set(l, k.resolve(ctx, l.at), nil)
	return k.hold(ctx, l, learnt)
}

// config is that of TLS to the relay.
func (k *keeper) config() *stdtls.Config {
	c := unvouched()
	if k.relay.Name != "" {
		c.InsecureSkipVerify, c.ServerName = false, k.relay.Name
	}
	if k.relay.User == "" {
		c.Certificates = []stdtls.Certificate{k.route.cfg.Device.Certificate()}
	}
	return c
}

// register says who we are.
func (k *keeper) register(l *link) error {
	hello, err := l.next(pushwire.Hello)
	if err != nil {
		return err
	}
	f := pushwire.Frame{Kind: pushwire.Register, User: k.relay.User, Instance: k.route.instance}
	var want pushwire.Proof
	if f.User != "" {
		state := l.conn.ConnectionState()
		secret, err := state.ExportKeyingMaterial(pushwire.ExporterLabel, nil, 32)
		if err != nil {
			return err
		}
		key := stun.KeySHA256(f.User, hello.Realm, k.relay.Password)
		f.Proof = pushwire.ClientProof(key, [32]byte(secret), f.Instance)
		want = pushwire.ServerProof(key, [32]byte(secret), f.Instance)
	}
	if err := l.write(f); err != nil {
		return err
	}
	verdict, err := l.next(pushwire.Registered)
	switch {
	case err != nil:
		return err
	case verdict.Verdict == pushwire.Refused:
		return errRefused
	case verdict.Verdict != pushwire.Accepted:
		return errFull
	case f.User != "" && !verdict.Proof.Equal(want):
		return errProof
	}
	return nil
}

// hold pings, and tells of new contacts and hours.
func (k *keeper) hold(ctx context.Context, l *link, learnt *learnt) error {
	learn, ping := time.NewTicker(learnEach), time.NewTicker(pingEach)
	defer learn.Stop()
	defer ping.Stop()
	due := time.NewTimer(0)
	due.Stop()
	defer due.Stop()
	var asked time.Time
	send := func() error {
		asked = time.Now()
		due.Reset(pingWait)
		return l.write(pushwire.Frame{Kind: pushwire.Ping})
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			return fmt.Errorf("the connection ended: %w", l.err)
		case now := <-learn.C:
			err = learnt.tell(k.route, l, now)
		case <-ping.C:
			err = send()
		case <-k.wake: // is it still there, from where we are now?
			err = send()
		case <-due.C:
			if l.heard.Load() < asked.UnixNano() {
				err = errSilent
			}
		}
		if err != nil {
			return err
		}
	}
}

// learnt is what the relay was told last.
type learnt struct {
	contacts []identity.DeviceID
	hours    []int64
	told     bool
}

// tell sends the mailboxes when the contacts or the hours have changed.
func (s *learnt) tell(r *Route, l *link, now time.Time) error {
	contacts, hours := r.contacts(), hoursAt(now)
	if s.told && slices.Equal(s.contacts, contacts) && slices.Equal(s.hours, hours) {
		return nil
	}
	s.contacts, s.hours, s.told = contacts, hours, true
	tokens := r.mailboxes(contacts, hours)
	const most = pushwire.MaxTokens * len(pushwire.Token{})
	for {
		part := tokens[:min(len(tokens), most)]
		tokens = tokens[len(part):]
		if err := l.write(pushwire.Frame{Kind: pushwire.Mailboxes, More: len(tokens) > 0, Tokens: part}); err != nil {
			return err
		}
		if len(tokens) == 0 {
			return nil
		}
	}
}

// resolve returns the address that we are connected to, and one of the other family where the relay has a name: a contact may have
// that family only.
func (k *keeper) resolve(ctx context.Context, at netip.AddrPort) []netip.AddrPort {
	out := []netip.AddrPort{at}
	host, port, err := net.SplitHostPort(k.relay.Address)
	if err != nil {
		return out
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if _, isAddr := netip.ParseAddr(host); err != nil || isAddr == nil {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host) // without one there is the address that we have
	for _, a := range found {
		if a = a.Unmap(); a.Is4() != at.Addr().Is4() {
			return append(out, netip.AddrPortFrom(a, uint16(n)))
		}
	}
	return out
}
