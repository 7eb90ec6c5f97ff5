package turn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// RelayMode is how UDP allocations come by their relayed addresses.
type RelayMode uint8

// The modes.
const (
	RelayPort   RelayMode = iota // each has a port of its own: RFC 8656 §7.2
	RelayShared                  // many share one, and are told apart by the peer's address and port
)

// sharedSockets is how many relayed sockets of a family a shard has at most, where the port range has so many: a peer can be
// had once for each.
const sharedSockets = 64

// sharedRelay is a relayed socket that many allocations of a shard share.
type sharedRelay struct {
	shard *shard
	conn  *udp.Conn
	at    netip.AddrPort

	peers *alloc.Peers // guarded by the shard's lock
	load  int          // allocations; guarded by the shard's lock
}

// openShared opens the relayed sockets that allocations will share, as many of each family as there are ports, and at least one
// a shard.
func (s *Server) openShared() error {
	if s.config.RelayMode != RelayShared || s.config.NoUDPRelays {
		return nil
	}
	most := min(int(s.config.PortMax)-int(s.config.PortMin)+1, sharedSockets*len(s.shards))
	for family := range s.ports {
		if !s.relayIP(family).IsValid() {
			continue
		}
		for i := range most {
			conn, at, ok := s.openUDPRelay(family, (*alloc.Ports).Take)
			if !ok && i < len(s.shards) {
				return fmt.Errorf("turn: %d of the ports %d-%d of %v are free, and sharing takes %d, one for each core that works",
					i, s.config.PortMin, s.config.PortMax, s.relayIP(family), len(s.shards))
			}
			if !ok {
				break // other programs have the rest
			}
			sh := s.shards[i%len(s.shards)]
			sh.shared[family] = append(sh.shared[family], &sharedRelay{shard: sh, conn: conn, at: at, peers: alloc.NewPeers()})
		}
	}
	return nil
}

// pickShared gives an allocation the relayed socket that the fewest have, of an even port where that is wished. Which comes
// first among equals is random.
func (r *request) pickShared(rel *relay, n *alloc.New, w wish) bool {
	sh := r.shard
	all := sh.shared[w.family]
	if len(all) == 0 {
		return false
	}
	var best *sharedRelay
	first := rand.IntN(len(all))
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range all {
		one := all[(first+i)%len(all)]
		if w.even && one.at.Port()%2 == 1 || best != nil && best.load <= one.load {
			continue
		}
		best = one
	}
	if best == nil {
		return false
	}
	best.load++
	rel.shared, rel.udp, n.Relayed, n.Shared[0] = best, best.conn, best.at, best.peers
	return true
}

// taken answers a request that names a peer which another allocation of the relayed address has. What can be done about it is
// to allocate anew: there are other relayed addresses.
const taken = "Peer In Use On This Relayed Address"

// claims expects the shard's lock. It says whether all the peers can be the allocation's; those with port 0 stand for no port.
func (r *request) claims(a *alloc.Allocation, peers []netip.AddrPort) bool {
	for _, peer := range peers {
		if peer.Port() != 0 && r.shard.table.Taken(r.now, a, peer) {
			return false
		}
	}
	return true
}

// claim makes permitted peers the allocation's, as many as it may have. It expects the shard's lock.
func (r *request) claim(a *alloc.Allocation, peers []netip.AddrPort) {
	for _, peer := range peers {
		if peer.Port() != 0 {
			r.shard.table.Claim(r.now, a, peer)
		}
	}
}

// owner returns whose a peer's datagram is that came to a shared socket, or why it is nobody's. It expects the shard's lock.
func (s *sharedRelay) owner(now time.Time, from netip.AddrPort) (*relay, DropReason) {
	a, ambiguous := s.peers.Owner(now, from)
	switch {
	case ambiguous:
		return nil, DropAmbiguous
	case a == nil:
		return nil, DropNoPermission
	}
	return relayOf(a).toward(from.Addr()), 0
}

// closeShared closes the shard's shared sockets, when no allocation has them any more.
func (sh *shard) closeShared() {
	for _, family := range sh.shared {
		for _, one := range family {
			_ = one.conn.Close()
		}
	}
}

// keepsWhole says whether DONT-FRAGMENT can be obeyed: it is a matter of the socket, and so of who alone has it.
func (s *Server) keepsWhole() bool { return udp.KeepsWhole && s.config.RelayMode == RelayPort }
