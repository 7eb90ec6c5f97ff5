package ice

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"traverse.internal/core/turnclient"
)

// reflection is how a relay sees a connection from the listeners' port: a server-reflexive candidate for TCP (RFC 6544
// §5.2). The connection is open as long as an attempt uses it, so that NATs keep the mapping. A pair of addresses has one
// connection, so all attempts share it.
type reflection struct {
	key    reflectKey
	cancel context.CancelFunc
	users  int // guarded by Endpoint.mu

	ready  chan struct{} // closed when the fields below are set
	mapped netip.AddrPort
	err    error
	conn   *net.TCPConn
}

type reflectKey struct {
	server string
	v6     bool
}

// reflect returns the reflection at a relay, in use; nil when the endpoint is closed.
func (e *Endpoint) reflect(r Relay, v6 bool) *reflection {
	key := reflectKey{r.Server, v6}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	f := e.reflections[key]
	if f == nil {
		ctx, cancel := context.WithTimeout(e.ctx, e.cfg.RelayGatherTimeout)
		f = &reflection{key: key, cancel: cancel, ready: make(chan struct{})}
		e.reflections[key] = f
		e.wg.Add(1)
		go e.askReflection(ctx, f, r)
	}
	f.users++
	return f
}

// unreflect ends one use of a reflection.
func (e *Endpoint) unreflect(f *reflection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	delete(e.reflections, f.key)
	f.cancel()
	select {
	case <-f.ready:
		f.close()
	default: // askReflection closes
	}
}

// close closes the connection with a reset: one in TIME_WAIT would keep the next from the same pair of addresses.
func (f *reflection) close() {
	if f.conn != nil {
		_ = f.conn.SetLinger(0)
		_ = f.conn.Close()
	}
}

// askReflection makes the connection and asks.
func (e *Endpoint) askReflection(ctx context.Context, f *reflection, r Relay) {
	defer e.wg.Done()
	conn, mapped, err := e.seenBy(ctx, f.key, r)
	e.mu.Lock()
	defer e.mu.Unlock()
	f.conn, f.mapped, f.err = conn, mapped, err
	close(f.ready)
	if f.users == 0 {
		f.close()
	}
}

func (e *Endpoint) seenBy(ctx context.Context, key reflectKey, r Relay) (*net.TCPConn, netip.AddrPort, error) {
	if !canShare {
		return nil, netip.AddrPort{}, errNoSharing
	}
	d := e.dialer(true, e.source(family(key.v6)))
	conn, err := d.DialContext(ctx, network(family(key.v6)), key.server)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	tcp := conn.(*net.TCPConn)
	mapped, err := turnclient.Binding(ctx, tcp, turnclient.Config{Host: r.Server, TLS: r.TLS})
	if err == nil && checkAddrPort(mapped) != "" {
		err = errUseless
	}
	if err != nil {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
		return nil, netip.AddrPort{}, err
	}
	return tcp, mapped, nil
}

// family is an address of the family, for those functions that look at no more of it.
func family(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// reflectAll asks every relay by every family that we have an address of, and waits for them. What is returned is in use.
func (e *Endpoint) reflectAll(ctx context.Context, hosts []netip.AddrPort) []*reflection {
	var all []*reflection
	for _, r := range e.servers.Load().relays {
		for _, v6 := range []bool{false, true} {
			if !slices.ContainsFunc(hosts, func(h netip.AddrPort) bool { return h.Addr().Is6() == v6 && !h.Addr().IsLoopback() }) {
				continue // a server on loopback would see loopback
			}
			if f := e.reflect(r, v6); f != nil {
				all = append(all, f)
			}
		}
	}
	for _, f := range all {
		select {
		case <-f.ready:
		case <-ctx.Done():
		}
	}
	return all
}

// mappings are the addresses on the outside that lead to our port: the one that the router was asked for, and those that
// relays saw.
func (a *Attempt) mappings() []netip.AddrPort {
	if !a.ep.cfg.uses(TypeSrflx, true) {
		return nil
	}
	out := a.reflexive()
	if at, _ := a.ep.mappedPort(); at.IsValid() && !slices.Contains(a.hosts, at) {
		out = append([]netip.AddrPort{at}, out...)
	}
	return once(out, MaxReflexive)
}

// mappedPort is the address that the router maps to our port, and how.
func (e *Endpoint) mappedPort() (netip.AddrPort, Mapping) {
	if e.cfg.Mapped == nil {
		return netip.AddrPort{}, MapNone
	}
	at, how := e.cfg.Mapped()
	if checkAddrPort(at) != "" {
		return netip.AddrPort{}, MapNone
	}
	return at, how
}

// reflexive are the addresses of an attempt's reflections that are none of our own, each once.
func (a *Attempt) reflexive() []netip.AddrPort {
	var out []netip.AddrPort
	for _, f := range a.reflections {
		select {
		case <-f.ready:
		default:
			continue // it took too long
		}
		if f.mapped.IsValid() && !slices.Contains(a.hosts, f.mapped) {
			out = append(out, f.mapped)
		}
	}
	return once(out, MaxReflexive)
}
