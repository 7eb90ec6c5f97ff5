package alloc

import (
	"net/netip"
	"time"
)

// Transport is what the client speaks to the server.
type Transport uint8

// The client transports.
const (
	UDP Transport = iota
	TCP
	TLS  // over TCP
	DTLS // over UDP
	// NumTransports is how many there are.
	NumTransports = iota
)

// String returns the name as metrics spell it.
func (t Transport) String() string {
	return [...]string{"udp", "tcp", "tls", "dtls"}[t]
}

// Protocol is what the server speaks to the peers, by its IANA number, as REQUESTED-TRANSPORT has it.
type Protocol uint8

// The relay protocols.
const (
	RelayTCP Protocol = 6
	RelayUDP Protocol = 17
)

// FiveTuple names an allocation: RFC 8656 §3.2. The same addresses over UDP and over TCP are two.
type FiveTuple struct {
	Client    netip.AddrPort
	Server    netip.AddrPort
	Transport Transport
}

// Allocation is one relayed transport address, or one of each family, and what its client may do with it. The exported
// fields are set by [Table.Insert] and do not change, except that Refresh moves Expires, and Arrive the Tuple.
type Allocation struct {
	Tuple       FiveTuple
	User        string
	Transaction [12]byte // of the Allocate request that made it
	Protocol    Protocol
	Relayed     netip.AddrPort
	Second      netip.AddrPort // of the other family, in a dual allocation
	Expires     time.Time      // of the one that ends last
	Token       Token          // of the reservation made with it; zero when none was
	Held        Held           // what it counts in
	Handle      any

	permissions map[netip.Addr]*permission
	byNumber    map[uint16]*channel
	byPeer      map[netip.AddrPort]*channel
	last        *channel // that Uplink was asked for; of byNumber
	conns       map[netip.AddrPort]*Conn
	shared      [2]*Peers // of Relayed and Second, where others have that, too
	claimed     int       // peers, there
	halves      [2]half   // of Relayed and Second
	next        FiveTuple // where it moves to
	moving      bool
	gone        bool
}

// Gone says that the allocation was removed: whoever still holds a pointer to it must not use it.
func (a *Allocation) Gone() bool { return a.gone }

// Remaining returns the rest of the lifetime in whole seconds, for a LIFETIME attribute.
func (a *Allocation) Remaining(now time.Time) uint32 {
	left := a.Expires.Sub(now)
	if left <= 0 {
		return 0
	}
	return uint32((left + time.Second - 1) / time.Second)
}

// SameFamily says whether there is a relayed address that can reach the peer.
func (a *Allocation) SameFamily(peer netip.Addr) bool { return a.Serves(peer.Is4()) }

// Permitted says whether the address may send to the client, and the client to it.
func (a *Allocation) Permitted(now time.Time, peer netip.Addr) bool {
	p := a.permissions[peer]
	return p != nil && now.Before(p.expires)
}

// Uplink returns the peer of a channel that may be sent to now. A channel works only while its permission does:
// RFC 8656 §12.
func (a *Allocation) Uplink(now time.Time, number uint16) (peer netip.AddrPort, bound, permitted bool) {
	c := a.last
	if c == nil || c.number != number { // most allocations have one
		c = a.byNumber[number]
		a.last = c
	}
	if c == nil || !now.Before(c.expires) {
		return netip.AddrPort{}, false, false
	}
	return c.peer, true, now.Before(c.permission.expires)
}

// Downlink says whether a datagram from the peer may go to the client, and on which channel; number 0 means in a Data
// indication.
func (a *Allocation) Downlink(now time.Time, from netip.AddrPort) (number uint16, permitted bool) {
	if c := a.byPeer[from]; c != nil && now.Before(c.permission.expires) {
		if now.Before(c.expires) {
			return c.number, true
		}
		return 0, true
	}
	return 0, a.Permitted(now, from.Addr())
}
