package ice

import (
	"net"
	"net/netip"
	"sync"
)

// Path is a connection, or over UDP a pair of addresses, with the peer's device, as bare as the kernel gives it. Whoever has it calls Close, which closes
// Conn too: a path through our own relay keeps an allocation there alive until then.
type Path struct {
	Conn  *net.TCPConn // no deadlines set, nothing of ICE in it any more; nil over UDP
	Pair  *Pair        // over UDP, else nil
	Head  []byte       // what was read of it already: comes first. The offerer's has 1 or 2 bytes of TLS, the answerer's none
	Role  Role
	Route Route

	lent     loan // our allocation that it goes through, or nil
	giveBack func()
	once     sync.Once
	done     chan struct{}
}

// loan is an allocation as far as a path looks at it.
type loan interface {
	Done() <-chan struct{}
	Err() error
}

// Close closes the connection and gives the allocation back, without waiting for the relay.
func (p *Path) Close() error {
	var err error
	p.once.Do(func() {
		if p.Pair != nil {
			err = p.Pair.Close()
		} else {
			err = p.Conn.Close()
		}
		if p.lent != nil {
			p.giveBack()
		}
		close(p.done)
	})
	return err
}

// Done is closed when the path is, or when our relay took the allocation away: Conn dies with it, sooner or later.
func (p *Path) Done() <-chan struct{} {
	if p.lent != nil {
		return p.lent.Done()
	}
	return p.done
}

// Err says why Done is closed: ErrClosed, or what our relay did. It is nil before.
func (p *Path) Err() error {
	select {
	case <-p.Done():
	default:
		return nil
	}
	select {
	case <-p.done:
		return ErrClosed
	default:
		return p.lent.Err()
	}
}

// route says which way a connection goes.
func (a *Attempt) route(s *stream) Route {
	r := Route{Kind: Direct, Local: localAddr(s.conn), Remote: remoteAddr(s.conn), Relay: s.relay}
	if s.lent != nil {
		r.Remote = s.peer // the socket's other end is the relay
	}
	a.mu.Lock()
	typ := a.legs[s.peer].typ
	a.mu.Unlock()
	if s.relay.IsValid() {
		r.Kind, r.Via, r.Reason = Relayed, "relay/tcp", a.whyRelayed()
		return r
	}
	r.Via, r.Reason = typ.String()+"/tcp", a.whyDirect(r.Local.Addr(), r.Remote.Addr())
	return r
}

// near reports whether a peer at this address shares a link, a private network or this machine with us.
func near(a netip.Addr) bool {
	if a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() {
		return true
	}
	links, _ := net.InterfaceAddrs() // without the list only the ranges above count
	for _, l := range links {
		if n, ok := l.(*net.IPNet); ok && n.Contains(a.AsSlice()) {
			return true
		}
	}
	return false
}
