package dht

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// listen starts a private node on loopback that is closed with the test.
func listen(t testing.TB, bootstrap ...string) *Node {
	t.Helper()
	return listenAt(t, loopback, bootstrap...)
}

func listenAt(t testing.TB, at netip.AddrPort, bootstrap ...string) *Node {
	t.Helper()
	n, err := Listen(Config{Mode: Private, Listen: at, Bootstrap: bootstrap})
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, n)
	return n
}

// closing are the nodes to close at the end of a test, all together: each may have to wait for a query's time-out.
var closing = struct {
	sync.Mutex
	nodes map[testing.TB][]*Node
}{nodes: map[testing.TB][]*Node{}}

func closeWith(t testing.TB, n *Node) {
	t.Helper()
	closing.Lock()
	defer closing.Unlock()
	closing.nodes[t] = append(closing.nodes[t], n)
	if len(closing.nodes[t]) > 1 {
		return
	}
	t.Cleanup(func() {
		closing.Lock()
		nodes := closing.nodes[t]
		delete(closing.nodes, t)
		closing.Unlock()
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(func() { _ = n.Close() })
		}
		wg.Wait()
	})
}

// mesh starts n nodes that bootstrap from the first, and waits until all have joined.
func mesh(t *testing.T, n int) []*Node {
	t.Helper()
	nodes := []*Node{listen(t)}
	for len(nodes) < n {
		nodes = append(nodes, listen(t, nodes[0].Addr().String()))
	}
	for i, node := range nodes {
		await(t, node.Joined(), "node to join", i)
	}
	return nodes
}

const patience = time.Minute // for anything that should happen; only a failing test waits so long

func await[T any](t testing.TB, c <-chan T, what ...any) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal(append([]any{"waited in vain for"}, what...)...)
	}
	return v
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func newKey(t *testing.T) (ed25519.PrivateKey, [32]byte) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, [32]byte(public)
}

// device is one device in a test: its node, courier and signaler.
type device struct {
	*identity.Device
	node    *Node
	courier *Courier
	sig     *signalling.Signaler

	mu       sync.Mutex
	contacts []identity.DeviceID
	allowed  func(identity.DeviceID) bool
	refuse   bool                // allows nobody, contacts included
	calls    []identity.DeviceID // who called
	stop     func()
}

func (d *device) peers() []identity.DeviceID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.contacts)
}

func (d *device) isAllowed(id identity.DeviceID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.refuse && (d.allowed != nil && d.allowed(id) || slices.Contains(d.contacts, id))
}

func (d *device) add(ids ...identity.DeviceID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.contacts = append(d.contacts, ids...)
}

func (d *device) callers() []identity.DeviceID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

func (d *device) answer(_ context.Context, from identity.DeviceID, offer []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, from)
	return append([]byte("re: "), offer...), nil
}

// testPoll is short so that tests are; what depends on it is said in multiples of it.
const testPoll = 200 * time.Millisecond

// newDevice makes a device on node; start lets it serve.
func newDevice(t testing.TB, node *Node, routes RouteSet, change func(*CourierConfig, *signalling.Config)) *device {
	t.Helper()
	id, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	d := &device{Device: id, node: node}
	d.carry(t, routes, change)
	return d
}

// carry gives the device a courier on its node, and a signaler.
func (d *device) carry(t testing.TB, routes RouteSet, change func(*CourierConfig, *signalling.Config)) {
	t.Helper()
	cc := CourierConfig{Device: d.Device, Peers: d.peers, Routes: routes, Poll: testPoll, CalltoPoll: testPoll, Republish: time.Minute}
	sc := signalling.Config{Device: d.Device, Allowed: d.isAllowed, Peers: d.peers}
	if change != nil {
		change(&cc, &sc)
	}
	var err error
	if d.courier, err = NewCourier(d.node, cc); err != nil {
		t.Fatal(err)
	}
	sc.Routes, sc.Presence = d.courier.Routes(), d.courier
	if sc.Timeout == 0 {
		sc.Timeout = d.courier.CallTimeout()
	}
	if d.sig, err = signalling.New(sc); err != nil {
		t.Fatal(err)
	}
}

func (d *device) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.sig.Serve(ctx, d.answer) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(d.stop)
}

// befriend makes contacts of the two and lets both serve.
func befriend(t testing.TB, a, b *device) {
	t.Helper()
	a.add(b.ID())
	b.add(a.ID())
	a.start(t)
	b.start(t)
}

// mustCall calls and checks the answer.
func mustCall(t testing.TB, from *device, to *device) time.Duration {
	t.Helper()
	start := time.Now()
	offer := bytes.Repeat([]byte("offer "), 100)
	answer, err := from.sig.Call(t.Context(), to.ID(), offer)
	took := time.Since(start)
	if err != nil {
		t.Fatalf("call: %v\ncaller's node: %+v\ncalled node: %+v\ncalled: %+v", err, from.node.Stats(), to.node.Stats(), to.sig.Stats())
	}
	if want := "re: " + string(offer); string(answer) != want {
		t.Errorf("answer %q, want %q", answer, want)
	}
	return took
}
