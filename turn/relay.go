package turn

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"syscall"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/core/zerocopy"
	"traverse.internal/turn/alloc"
)

const (
	// relayBuffer is the queue of a relayed socket: a burst of 700 full packets. The kernel takes memory only for what is
	// queued.
	relayBuffer = 1 << 20
	// bindAttempts bounds the search for a port that no other program has: with half of all ports taken by others the
	// chance to find none is 2^-64.
	bindAttempts = 64
)

// relayOptions are those of relayed sockets. What clients send may be cut on its way: RFC 8656 §15 without DONT-FRAGMENT.
var relayOptions = udp.Options{
	RecvBuffer: relayBuffer, SendBuffer: relayBuffer, Trains: true, TOS: true, Errors: true, Fragment: true,
}

// relay is what the server hangs on an allocation: its relayed socket, and the way back to the client. Only one of udp
// and tcp is set. Nothing here but counts and chain changes after the allocation is in its table.
//
// A dual allocation has one for each family. The one that hangs on the allocation knows the other.
type relay struct {
	shard   *shard
	second  *relay         // of IPv6 in a dual allocation, whose IPv4 this is; else nil
	at      netip.AddrPort // its socket's address
	alloc   *alloc.Allocation
	client  atomic.Pointer[client] // replaced when the client has moved
	chain   chain
	udp     *udp.Conn
	shared  *sharedRelay // whose udp is; nil: its own
	direct  atomic.Pointer[direct]
	streak  streak // the work goroutine's
	tcp     *tcpRelay
	charged netip.Addr      // whose quota it counts in
	made    alloc.Transport // that it is counted under
	ticket  *ticket         // for a client that can move; nil: it cannot
	missing struct {        // the other family of a dual allocation that is only half of one; code 0: it is none
		family stun.Family
		code   stun.ErrorCode
	}
	family int              // ip4 or ip6
	moved  [2]moved         // datagrams, by direction
	held   alloc.Held       // the accounts that it counts in
	flows  [2]zerocopy.Flow // of data connections, by direction; they add to the shard's

	offloads map[uint16]*offloaded // by channel; guarded by the shard's lock
}

// moved counts what was relayed.
type moved struct{ packets, bytes atomic.Uint64 }

// relayed counts datagrams, for the session and for the shard.
func (r *relay) relayed(direction int, packets, bytes uint64) {
	if packets == 0 {
		return
	}
	r.moved[direction].packets.Add(packets)
	r.moved[direction].bytes.Add(bytes)
	r.shard.stats.relayed(direction, r.family, packets, bytes)
}

// bytes returns how many were relayed in a direction.
func (r *relay) bytes(direction int) uint64 {
	flow := &r.flows[direction]
	return r.moved[direction].bytes.Load() + flow.Spliced.Load() + flow.Copied.Load()
}

// client is the way to the client: a stream, or an address at a listening socket.
type client struct {
	stream   *stream
	listener *listener
	addr     netip.AddrPort
	from     netip.Addr  // of ours, where the socket has several
	secured  *dtlsClient // whose session what goes to the address is sealed with; nil: plain UDP
}

// setAllocated notes that the client has an allocation, or no longer has one.
func (c *client) setAllocated(allocated bool) {
	switch {
	case c.stream != nil:
		c.stream.setAllocated(allocated)
	case c.secured != nil:
		c.secured.setAllocated(allocated)
	}
}

// is says whether both are the same connection, or both none.
func (c *client) is(other *client) bool {
	return c.stream == other.stream && c.secured == other.secured
}

// relayOf returns what hangs on an allocation.
func relayOf(a *alloc.Allocation) *relay { return a.Handle.(*relay) }

// toward returns the one that reaches peers of the address's family.
func (r *relay) toward(peer netip.Addr) *relay {
	return r.half(peer.Is4())
}

func (r *relay) half(is4 bool) *relay {
	if r.second != nil && is4 == (r.second.family == ip4) {
		return r.second
	}
	return r
}

// close frees what the allocation still held. It is called once, by who removed the allocation from its table.
func (r *relay) close() {
	for _, h := range [2]*relay{r, r.second} {
		if h != nil && r.alloc.Serves(h.family == ip4) {
			h.free()
		}
	}
	r.client.Load().setAllocated(false)
	if r.ticket != nil {
		r.shard.forget(r.ticket)
	}
}

// free frees one relayed address: with its allocation, or before, when the other family's goes on.
func (r *relay) free() {
	s := r.shard.server
	r.endOffloads()
	r.disconnect()
	protocol := 0
	if r.tcp != nil {
		protocol = 1
		r.tcp.close()
		r.shard.stats.tcp.Add(-1)
	}
	if r.shared != nil {
		r.shard.mu.Lock()
		r.shared.load--
		r.shard.mu.Unlock()
	} else {
		if r.udp != nil {
			_ = r.udp.Close()
		}
		s.releasePort(r.family, protocol, r.at.Port())
	}
	s.leave(r.alloc.User, r.charged)
	r.shard.stats.allocations[r.family][r.made].Add(-1)
}

// ownRelayed says whether the address is a relayed one of this server, of the same kind as this one's but not itself.
func (r *relay) ownRelayed(peer netip.AddrPort) bool {
	protocol := 0
	if r.tcp != nil {
		protocol = 1
	}
	return peer != r.alloc.Relayed && peer != r.alloc.Second && r.shard.server.ports[familyOf(peer.Addr())][protocol].has(peer.Port())
}

// familyOf returns the index of counters and ports.
func familyOf(ip netip.Addr) int {
	if ip.Is4() {
		return ip4
	}
	return ip6
}

// ports are those of one relay address and protocol.
type ports struct {
	free *alloc.Ports                // guarded by the server's ledgerMu
	live [1 << 16 / 64]atomic.Uint64 // bit set: a relayed address of ours
}

func (p *ports) has(port uint16) bool { return p.live[port/64].Load()&(1<<(port%64)) != 0 }

func (p *ports) mark(port uint16) { p.live[port/64].Or(1 << (port % 64)) }

func (p *ports) unmark(port uint16) { p.live[port/64].And(^(uint64(1) << (port % 64))) }

// bindPort takes ports until one can be bound. take is a method of alloc.Ports, and width how many ports that takes.
func (s *Server) bindPort(family, protocol int, take func(*alloc.Ports, uint64) (uint16, bool), width uint16, bind func(netip.AddrPort) error) (netip.AddrPort, bool) {
	p, ip := &s.ports[family][protocol], s.relayIP(family)
	var foreign []uint16 // taken by other programs
	defer func() {
		for _, port := range foreign {
			for i := range width {
				s.releasePort(family, protocol, port+i)
			}
		}
	}()
	for range bindAttempts {
		s.ledgerMu.Lock()
		port, ok := take(p.free, random64())
		s.ledgerMu.Unlock()
		if !ok {
			return netip.AddrPort{}, false
		}
		addr := netip.AddrPortFrom(ip, port)
		err := bind(addr)
		if err == nil {
			for i := range width {
				p.mark(port + i)
			}
			return addr, true
		}
		foreign = append(foreign, port)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPort{}, false
}

func (s *Server) relayIP(family int) netip.Addr {
	if family == ip4 {
		return s.config.RelayIP4
	}
	return s.config.RelayIP6
}

// advertised is what clients are told instead of a relayed address.
func (s *Server) advertised(relayed netip.AddrPort) netip.AddrPort {
	ip := s.config.AdvertisedIP6
	if relayed.Addr().Is4() {
		ip = s.config.AdvertisedIP4
	}
	if !ip.IsValid() {
		return relayed
	}
	return netip.AddrPortFrom(ip, relayed.Port())
}

func (s *Server) releasePort(family, protocol int, port uint16) {
	s.ports[family][protocol].unmark(port)
	s.ledgerMu.Lock()
	s.ports[family][protocol].free.Release(port)
	s.ledgerMu.Unlock()
}

func (s *Server) admit(user string, from netip.Addr, n int) alloc.Verdict {
	if s.draining.Load() {
		return s.refusal(from)
	}
	s.ledgerMu.Lock()
	defer s.ledgerMu.Unlock()
	return s.ledger.Admit(user, from, n)
}

func (s *Server) leave(user string, from netip.Addr) {
	s.ledgerMu.Lock()
	s.ledger.Leave(user, from)
	s.ledgerMu.Unlock()
}

// closeReservations closes what nobody came back for; the ledger has forgotten it.
func (s *Server) closeReservations(over []alloc.Reservation) {
	for _, r := range over {
		_ = r.Handle.(*udp.Conn).Close()
		s.releasePort(familyOf(r.Addr.Addr()), 0, r.Addr.Port())
	}
}
