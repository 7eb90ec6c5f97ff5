package relay_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/loopback"
	"traverse.internal/signalling"
	"traverse.internal/signalling/relay"
	"traverse.internal/turn"
)

var loop4 = netip.MustParseAddr("127.0.0.1")

// startTurnd starts a relay that pushes, and returns it with a function that ends it.
func startTurnd(t *testing.T, config turn.Config) (*turn.Server, func()) {
	t.Helper()
	config.Push, config.RelayIP4 = true, loop4
	if config.Users == nil {
		config.Users = map[string]string{"anna": "secret"}
	}
	if config.ListenTCP == nil && config.ListenTLS == nil {
		config.ListenTCP = []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
	}
	s, err := turn.New(config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	stop := sync.OnceFunc(func() {
		_ = s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// board is where devices find each other's relays, in the place of the DHT.
type board struct {
	mu  sync.Mutex
	all map[identity.DeviceID]*node

	said map[identity.DeviceID][]netip.AddrPort // relays, in the place of those where the device is registered
}

// pretend has the board say that a device is at a relay.
func (b *board) pretend(n *node, at ...netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = map[identity.DeviceID][]netip.AddrPort{n.id: at}
}

// watch looks at the board a hundred times a second.
func (b *board) watch(ctx context.Context, peer identity.DeviceID, each func([]netip.AddrPort) bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		b.mu.Lock()
		n, at := b.all[peer], b.said[peer]
		b.mu.Unlock()
		if n != nil && at == nil {
			at = n.route.Published()
		}
		if n != nil && !each(at) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *board) ids() (all []identity.DeviceID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.all {
		all = append(all, id)
	}
	return all
}

// node is a device with the push route and no other.
type node struct {
	id       identity.DeviceID
	device   *identity.Device
	route    *relay.Route
	signaler *signalling.Signaler
}

func newDevice(t *testing.T) *identity.Device {
	t.Helper()
	d, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// start starts a device that answers what it is asked with the same words.
func (b *board) start(t *testing.T, device *identity.Device, relays ...relay.Relay) *node {
	t.Helper()
	route, err := relay.New(relay.Config{Device: device, Peers: b.ids, Relays: relays, Watch: b.watch})
	if err != nil {
		t.Fatal(err)
	}
	s, err := signalling.New(signalling.Config{
		Device: device, Allowed: func(id identity.DeviceID) bool { return slices.Contains(b.ids(), id) }, Peers: b.ids, Routes: []signalling.Route{route},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{device.ID(), device, route, s}
	b.mu.Lock()
	if b.all == nil {
		b.all = map[identity.DeviceID]*node{}
	}
	b.all[n.id] = n
	b.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, func(_ context.Context, from identity.DeviceID, offer []byte) ([]byte, error) {
			return append([]byte("heard: "), offer...), nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		<-tick.C
	}
}

func (n *node) waitUp(t *testing.T) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(n.route.States())
		}
	}()
	waitFor(t, "a registration", func() bool {
		return n.route.Stats().Up > 0
	})
}

// call calls, and holds that the answer is right.
func (n *node) call(t *testing.T, to *node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	answer, err := n.signaler.Call(ctx, to.id, []byte("offer"))
	if err != nil || string(answer) != "heard: offer" {
		t.Fatalf("answer %q, %v; caller %+v, called %+v", answer, err, n.route.Stats(), to.route.Stats())
	}
	t.Logf("answered after %v", time.Since(began).Round(time.Microsecond))
}

// plain is the relay with a password at a TCP port.
func plain(s *turn.Server) relay.Relay {
	return relay.Relay{Address: s.TCPAddrs()[0].String(), User: "anna", Password: "secret"}
}

// TestCall: a device that keeps a connection to its relay is called by one that has no relay, and by one that has the same; nobody else
// carries anything, since there is no other route.
func TestCall(t *testing.T) {
	s, _ := startTurnd(t, turn.Config{})
	b := &board{}
	called, stranger, neighbour := b.start(t, newDevice(t), plain(s)), b.start(t, newDevice(t)), b.start(t, newDevice(t), plain(s))
	called.waitUp(t)
	neighbour.waitUp(t)
	waitFor(t, "two mailboxes each", func() bool { return s.Stats().Push.Mailboxes >= 4 })
	stranger.call(t, called)
	neighbour.call(t, called)
	called.call(t, neighbour)
	st := s.Stats().Push
	if st.Registrations != 2 || st.Pushed != 3 || st.Answers != 3 || st.NotHere != 0 || st.Limited != 0 || st.Bad != 0 {
		t.Errorf("relay: %+v", st)
	}
	if c := called.route.Stats(); c.Received != 2 || c.Pushed != 1 || c.Answers != 1 {
		t.Errorf("called device: %+v", c)
	}
	if streams := s.Stats().Streams; streams != 2 {
		waitFor(t, "the caller's connection to end", func() bool { return s.Stats().Streams == 2 })
	}
}

// TestCertificates: a relay that knows devices takes one by its certificate over TLS, and none that it does not know.
func TestCertificates(t *testing.T) {
	device, other := newDevice(t), newDevice(t)
	certFile, keyFile, _ := loopback.Certificate(t)
	t.Setenv("SSL_CERT_FILE", certFile) // nothing else in this process looks at the system's authorities
	s, _ := startTurnd(t, turn.Config{
		ListenTLS: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}, CertFile: certFile, KeyFile: keyFile, Devices: []identity.DeviceID{device.ID()},
	})
	b := &board{}
	at := relay.Relay{Address: s.TLSAddrs()[0].String(), Name: "127.0.0.1"}
	called, caller, unknown := b.start(t, device, at), b.start(t, newDevice(t)), b.start(t, other, at)
	called.waitUp(t)
	caller.call(t, called)
	waitFor(t, "a refusal", func() bool { return s.Stats().Push.Refused > 0 })
	waitFor(t, "an error", func() bool { return unknown.route.States()[0].Err != nil })
	if err := unknown.route.States()[0].Err; !relay.Refused(err) {
		t.Errorf("an unknown device's registration: %v", err)
	}
	again := b.start(t, device, at) // the same device, another process: the newest has the registration
	again.waitUp(t)
	waitFor(t, "the newest alone", func() bool { st := s.Stats().Push; return st.Replaced >= 1 && st.Registrations == 1 })
}

// TestPasswords: a wrong password is refused, and a relay that does not know the password is not believed.
func TestPasswords(t *testing.T) {
	s, _ := startTurnd(t, turn.Config{})
	b := &board{}
	wrong := plain(s)
	wrong.Password = "guess"
	n := b.start(t, newDevice(t), wrong)
	waitFor(t, "a refusal", func() bool { return relay.Refused(n.route.States()[0].Err) })
	if st := s.Stats().Push; st.Registrations != 0 || st.Refused == 0 {
		t.Errorf("relay: %+v", st)
	}
	nobody := plain(s)
	nobody.User = "nobody"
	n = b.start(t, newDevice(t), nobody)
	waitFor(t, "a refusal", func() bool { return relay.Refused(n.route.States()[0].Err) })
}

// TestMinted: who has a time-limited name registers with it, and not after its end.
func TestMinted(t *testing.T) {
	s, _ := startTurnd(t, turn.Config{Secrets: []string{"s1", "s2"}})
	b := &board{}
	at := plain(s)
	at.User, at.Password = turn.Mint("s2", "bert", time.Now().Add(time.Hour))
	b.start(t, newDevice(t), at).waitUp(t)
	at.User, at.Password = turn.Mint("s2", "bert", time.Now().Add(-time.Hour))
	n := b.start(t, newDevice(t), at)
	waitFor(t, "a refusal", func() bool { return relay.Refused(n.route.States()[0].Err) })
}

// TestRestart: when the relay comes back, so does the registration; while it is away the device publishes none.
func TestRestart(t *testing.T) {
	s, stop := startTurnd(t, turn.Config{})
	at := s.TCPAddrs()[0]
	b := &board{}
	called, caller := b.start(t, newDevice(t), plain(s)), b.start(t, newDevice(t))
	called.waitUp(t)
	caller.call(t, called)
	stop()
	waitFor(t, "the end of the registration", func() bool { return len(called.route.Published()) == 0 && called.route.States()[0].Err != nil })
	startTurnd(t, turn.Config{ListenTCP: []netip.AddrPort{at}})
	called.waitUp(t)
	caller.call(t, called)
	if st := called.route.Stats(); st.Registered != 2 || st.Lost == 0 {
		t.Errorf("%+v", st)
	}
}

// TestSetRelays: with other relays, or another password, the device leaves and registers there; a registration at a relay that stays
// as it was goes on.
func TestSetRelays(t *testing.T) {
	first, _ := startTurnd(t, turn.Config{})
	second, _ := startTurnd(t, turn.Config{})
	b := &board{}
	wrong := plain(first)
	wrong.Password = "old"
	called, caller := b.start(t, newDevice(t), wrong), b.start(t, newDevice(t))
	waitFor(t, "a refusal", func() bool { return relay.Refused(called.route.States()[0].Err) })

	called.route.SetRelays([]relay.Relay{plain(first), plain(first)}) // named twice, it is one
	called.waitUp(t)
	if st := called.route.States(); len(st) != 1 {
		t.Errorf("states are %+v, want one", st)
	}
	caller.call(t, called)
	called.route.SetRelays([]relay.Relay{plain(second), plain(first)})
	waitFor(t, "two registrations", func() bool { return called.route.Stats().Up == 2 })
	if st := first.Stats().Push; st.Registrations != 1 || st.Replaced != 0 {
		t.Errorf("the relay that stayed: %+v, want the same registration", st)
	}
	called.route.SetRelays([]relay.Relay{plain(second)})
	waitFor(t, "the first relay is left", func() bool { return first.Stats().Push.Registrations == 0 })
	caller.call(t, called)
	if at := called.route.Published(); len(at) != 1 || at[0] != second.TCPAddrs()[0] {
		t.Errorf("published is %v, want %v", at, second.TCPAddrs()[0])
	}
	called.route.SetRelays(nil)
	waitFor(t, "no registration", func() bool { return second.Stats().Push.Registrations == 0 && len(called.route.Published()) == 0 })
	if err := relay.Check([]relay.Relay{{Address: "127.0.0.1:1"}}); err == nil {
		t.Error("a relay without a name and a password was taken")
	}
}

// TestRevoked: a user who is taken away loses the registration with the reload.
func TestRevoked(t *testing.T) {
	config := turn.Config{Users: map[string]string{"anna": "secret", "bert": "other"}}
	s, _ := startTurnd(t, config)
	b := &board{}
	bert := plain(s)
	bert.User, bert.Password = "bert", "other"
	b.start(t, newDevice(t), plain(s)).waitUp(t)
	b.start(t, newDevice(t), bert).waitUp(t)
	config.Push, config.RelayIP4, config.ListenTCP = true, loop4, []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
	config.Users = map[string]string{"anna": "secret"}
	if _, err := s.Reload(config); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "one registration", func() bool { return s.Stats().Push.Registrations == 1 })
}

// TestNoPush: a server that does not push is found out, and asked again an hour later.
func TestNoPush(t *testing.T) {
	s, err := turn.New(turn.Config{ListenTCP: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}, RelayIP4: loop4, Users: map[string]string{"anna": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	defer func() { s.Close(); <-done }()
	b := &board{}
	n := b.start(t, newDevice(t), plain(s))
	waitFor(t, "an error", func() bool { return n.route.States()[0].Err != nil })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	caller := b.start(t, newDevice(t))
	if _, err := caller.signaler.Call(ctx, n.id, []byte("offer")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a call to a device without a registration: %v", err)
	}
}
