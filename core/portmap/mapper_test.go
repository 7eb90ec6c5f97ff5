package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// router is one on loopback that speaks PCP, NAT-PMP, or neither.
type router struct {
	how  How
	conn *net.UDPConn

	mu    sync.Mutex
	ports map[uint16]time.Duration // mapped
	asked chan struct{}            // a value for each change of ports
}

func newRouter(t *testing.T, how How) *router {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &router{how: how, conn: conn, ports: map[uint16]time.Duration{}, asked: make(chan struct{}, 64)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return r
}

func (r *router) serve() {
	b := make([]byte, 2000)
	for {
		n, from, err := r.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if out := r.answer(b[:n]); out != nil {
			_, _ = r.conn.WriteToUDPAddrPort([]byte("noise"), from)
			_, _ = r.conn.WriteToUDPAddrPort(out, from)
		}
	}
}

func (r *router) answer(b []byte) []byte {
	switch {
	case r.how == PCP && b[0] == 2:
		r.note(binary.BigEndian.Uint16(b[40:]), time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Second)
		return pcpAnswer(b, netip.AddrPortFrom(outside.Addr(), binary.BigEndian.Uint16(b[42:])), 14)
	case r.how == NATPMP && b[0] == 2:
		return []byte{0, 128, 0, 1, 0, 0, 0, 1} // RFC 6886 §3.5
	case r.how == NATPMP && b[1] == 0:
		return append([]byte{0, 128, 0, 0, 0, 0, 0, 1}, outside.Addr().AsSlice()...)
	case r.how == NATPMP:
		r.note(binary.BigEndian.Uint16(b[4:]), time.Duration(binary.BigEndian.Uint32(b[8:]))*time.Second)
		out := append([]byte{0, b[1] | 0x80, 0, 0, 0, 0, 0, 1}, b[4:8]...)
		return append(out, b[8:12]...)
	}
	return nil
}

func (r *router) note(port uint16, lifetime time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ports[port] = lifetime; lifetime == 0 {
		delete(r.ports, port)
	}
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

func (r *router) mapped() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ports)
}

// TestMapper: a mapping is made, asked for anew when the network changes, and given back at the end.
func TestMapper(t *testing.T) {
	for _, how := range []How{PCP, NATPMP} {
		t.Run(string(how), func(t *testing.T) {
			r := newRouter(t, how)
			lo := netip.MustParseAddr("127.0.0.1")
			changed := make(chan struct{})
			var once sync.Once
			next := make(chan struct{})
			m := New(Config{
				Port: 4242, server: uint16(r.conn.LocalAddr().(*net.UDPAddr).Port),
				gateway: func(bool) (netip.Addr, netip.Addr, error) { return lo, lo, nil },
				Changed: func() <-chan struct{} {
					var c <-chan struct{} = next
					once.Do(func() { c = changed })
					return c
				},
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- m.Serve(ctx) }()
			<-r.asked
			close(changed)
			<-r.asked // the second answer: the first one has been taken in between
			if at, by := m.Mapped(); at.Addr() != outside.Addr() || at.Port() != 4242 || by != how {
				t.Errorf("mapped %v by %q, want port 4242 of %v by %s", at, by, outside.Addr(), how)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n := r.mapped(); n != 0 {
				t.Errorf("%d mappings were left at the router", n)
			}
			if at, by := m.Mapped(); at.IsValid() || by != "" {
				t.Errorf("after the end: %v by %q", at, by)
			}
		})
	}
}

// TestNoRouter: without one there is no mapping, and an error that says so.
func TestNoRouter(t *testing.T) {
	m := New(Config{Port: 4242, gateway: func(bool) (_, _ netip.Addr, err error) { return netip.Addr{}, netip.Addr{}, errAnswer }})
	if err := m.renew(t.Context()); !errors.Is(err, errAnswer) || m.Err() == nil {
		t.Errorf("got %v, and %v afterwards", err, m.Err())
	}
}
