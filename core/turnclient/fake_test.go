package turnclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

const fakeUser, fakePassword, fakeRealm = "user", "pass", "realm"

var (
	relayed4 = netip.MustParseAddrPort("192.0.2.15:50000")
	relayed6 = netip.MustParseAddrPort("[2001:db8::15]:50000")
	mapped   = netip.MustParseAddrPort("198.51.100.1:1234")
)

// fake is a TURN server that does as it is told. By default it behaves; on replaces what it does with authenticated
// requests of one method, before what it does with all requests.
type fake struct {
	t        *testing.T
	on       map[stun.Method]func(*request)
	before   func(*request) (done bool)
	password string
	lifetime uint32
	udp      bool // pipe's client takes its end for a UDP socket

	mu    sync.Mutex // guards the fields below
	nonce string
	seen  []stun.Type // requests that passed the credentials
	all   []seenRequest
}

type seenRequest struct {
	when time.Time
	raw  []byte
}

// request is one message that came to the fake.
type request struct {
	f    *fake
	conn net.Conn
	m    stun.Message
}

func newFake(t *testing.T) *fake {
	return &fake{t: t, on: make(map[stun.Method]func(*request)), password: fakePassword, lifetime: 600, nonce: "nonce1"}
}

// listen serves on loopback until the test ends.
func (f *fake) listen() netip.AddrPort {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() { f.serve(conn) })
		}
	})
	f.t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// serve answers requests on one connection until it ends.
func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	for {
		b, err := readFrame(conn)
		if err != nil {
			return
		}
		m, err := stun.Parse(b)
		if err != nil {
			f.t.Errorf("the client sent %x: %v", b, err)
			return
		}
		f.handle(&request{f: f, conn: conn, m: m})
	}
}

func (f *fake) handle(r *request) {
	f.mu.Lock()
	nonce := f.nonce
	f.all = append(f.all, seenRequest{time.Now(), r.m.Raw})
	f.mu.Unlock()
	if f.before != nil && f.before(r) {
		return
	}
	if got, err := r.m.Text(stun.AttrNonce); err != nil {
		r.challenge(stun.CodeUnauthenticated, nonce)
		return
	} else if string(got) != nonce {
		r.challenge(stun.CodeStaleNonce, nonce)
		return
	}
	if r.m.CheckIntegrity(f.key()) != nil {
		r.challenge(stun.CodeUnauthenticated, nonce)
		return
	}
	f.mu.Lock()
	f.seen = append(f.seen, r.m.Type())
	f.mu.Unlock()
	if do := f.on[r.m.Type().Method]; do != nil {
		do(r)
		return
	}
	r.obey()
}

// obey does what a server should.
func (r *request) obey() {
	switch r.m.Type().Method {
	case stun.MethodAllocate:
		relayed := relayed4
		if r.m.Has(stun.AttrRequestedAddressFamily) {
			relayed = relayed6
		}
		r.success(func(b *stun.Builder) {
			b.AddXORAddr(stun.AttrXORRelayedAddress, relayed)
			b.AddXORAddr(stun.AttrXORMappedAddress, mapped)
			b.AddUint32(stun.AttrLifetime, r.f.lifetime)
		})
	case stun.MethodRefresh:
		lifetime, err := r.m.Uint32(stun.AttrLifetime)
		if err != nil {
			lifetime = r.f.lifetime
		}
		r.success(func(b *stun.Builder) { b.AddUint32(stun.AttrLifetime, lifetime) })
	default:
		r.success(func(*stun.Builder) {})
	}
}

func (f *fake) key() []byte { return stun.LongTermKey(fakeUser, fakeRealm, f.password) }

// renewNonce makes the old nonce stale.
func (f *fake) renewNonce(nonce string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonce = nonce
}

// count returns how many requests of a method passed the credentials.
func (f *fake) count(method stun.Method) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, t := range f.seen {
		if t.Method == method {
			n++
		}
	}
	return n
}

// requests returns all requests of a method that came, as messages, and when they came.
func (f *fake) requests(method stun.Method) (all []stun.Message, when []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.all {
		if m, err := stun.Parse(s.raw); err == nil && m.Type().Method == method {
			all, when = append(all, m), append(when, s.when)
		}
	}
	return all, when
}

func (r *request) send(b []byte) {
	_, _ = r.conn.Write(b) // the client may have gone
}

// success answers with what add adds, signed.
func (r *request) success(add func(*stun.Builder)) {
	b := stun.Respond(nil, r.m, stun.ClassSuccess)
	add(&b)
	b.AddIntegrity(r.f.key())
	r.send(b.Bytes())
}

// refuse answers with an error, signed.
func (r *request) refuse(code stun.ErrorCode) {
	b := stun.Respond(nil, r.m, stun.ClassError)
	b.AddErrorCode(code)
	b.AddIntegrity(r.f.key())
	r.send(b.Bytes())
}

// challenge answers 401 or 438, unsigned.
func (r *request) challenge(code stun.ErrorCode, nonce string) {
	b := stun.Respond(nil, r.m, stun.ClassError)
	b.AddErrorCode(code)
	b.AddText(stun.AttrRealm, fakeRealm)
	b.AddText(stun.AttrNonce, nonce)
	r.send(b.Bytes())
}

// attempt tells the client that a peer dialled its relayed address.
func (r *request) attempt(id uint32, peer netip.AddrPort) {
	b := stun.New(nil, stun.MethodConnectionAttempt.Indication(), stun.NewTransactionID())
	b.AddUint32(stun.AttrConnectionID, id)
	b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	r.send(b.Bytes())
}

// dial returns a client of the fake over loopback.
func (f *fake) dial(timeout time.Duration) *Client {
	f.t.Helper()
	c, err := Dial(f.t.Context(), Config{
		Server: f.listen(), Username: fakeUser, Password: fakePassword, Timeout: timeout,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// allocate returns an allocation at the fake over loopback.
func (f *fake) allocate(family Family) *Allocation {
	f.t.Helper()
	a, err := f.dial(5*time.Second).Allocate(f.t.Context(), family)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// pipe returns a client of the fake without a network, for tests in a synctest bubble. It cannot make data connections.
func (f *fake) pipe() (c *Client, end func()) {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve(far)
	}()
	c = newClient(near, "relay:3478", Config{Username: fakeUser, Password: fakePassword, Timeout: DefaultTimeout, UDP: f.udp})
	return c, func() {
		_ = c.Close()
		<-done
	}
}

// addrs parses addresses.
func addrs(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// peersOf returns the addresses in a CreatePermission request, sorted.
func peersOf(t *testing.T, m stun.Message) (all []netip.Addr) {
	t.Helper()
	list, err := m.AppendXORAddrs(nil, stun.AttrXORPeerAddress)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Port() == 0 {
			t.Errorf("peer %v has no port", p)
		}
		all = append(all, p.Addr())
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// wantReadAll reads conn to its end and compares.
func wantReadAll(t *testing.T, conn io.Reader, want string) {
	t.Helper()
	got, err := io.ReadAll(conn)
	if string(got) != want || err != nil {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

// short is a context that ends soon, for what must not hang.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// as returns the first error of type E in err's tree, failing the test when there is none.
func as[E error](t *testing.T, err error) (e E) {
	t.Helper()
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want %T", err, err, e)
	}
	return e
}
