package turn

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"traverse.internal/turn/alloc"
)

// Session is one allocation, for who operates the server.
type Session struct {
	ID        string         `json:"id"` // udp/ADDRESS:PORT or tcp/ADDRESS:PORT, the relayed one; where that is shared, with the client behind it: udp/ADDRESS:PORT/udp/CLIENT
	User      string         `json:"user"`
	Transport string         `json:"transport"` // of the client
	Client    netip.AddrPort `json:"client"`
	Server    netip.AddrPort `json:"server"`
	Relayed   netip.AddrPort `json:"relayed"`
	Second    netip.AddrPort `json:"second,omitzero"` // the other relayed address of a dual allocation, while it has both
	Protocol  string         `json:"protocol"`        // of the relayed address: udp or tcp
	Expires   time.Time      `json:"expires"`

	// What was relayed until now, payload only. Of TCP allocations there are only bytes.
	PacketsUp   uint64 `json:"packets_up"`
	PacketsDown uint64 `json:"packets_down"`
	BytesUp     uint64 `json:"bytes_up"`
	BytesDown   uint64 `json:"bytes_down"`

	Offloaded int `json:"offloaded,omitempty"` // of the channels, those that are relayed in the kernel

	Permissions []SessionPeer `json:"permissions"`
	Channels    []SessionPeer `json:"channels"`
	Connections []SessionPeer `json:"connections"` // of a TCP allocation
}

// SessionPeer is somebody whom a session may talk to.
type SessionPeer struct {
	Peer    string    `json:"peer"`
	Channel uint16    `json:"channel,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Mode    string    `json:"mode,omitempty"` // of a connection in use: splice, ktls (the kernel seals a TLS client's records, too) or copy
}

// Sessions returns all allocations, ordered by relayed address. Safe for concurrent use; no packet waits for longer than
// one allocation's lists take.
func (s *Server) Sessions() []Session {
	list := []Session{}
	for _, sh := range s.shards {
		for _, a := range sh.all() {
			if one, ok := sh.session(a, s.now()); ok {
				list = append(list, one)
			}
		}
	}
	slices.SortFunc(list, func(a, b Session) int {
		return cmp.Or(a.Relayed.Compare(b.Relayed), cmp.Compare(a.Protocol, b.Protocol), a.Client.Compare(b.Client), cmp.Compare(a.Transport, b.Transport))
	})
	return list
}

func (sh *shard) session(a *alloc.Allocation, now time.Time) (Session, bool) {
	rel := relayOf(a)
	sh.mu.Lock()
	gone := a.Gone()
	out := Session{
		ID: sessionID(a), User: a.User, Transport: a.Tuple.Transport.String(), Client: a.Tuple.Client, Server: a.Tuple.Server,
		Relayed: a.Relayed, Protocol: protocolName(a), Expires: a.Expires.Round(0),
		Permissions: []SessionPeer{}, Channels: []SessionPeer{}, Connections: []SessionPeer{},
	}
	if a.Second.IsValid() && a.Serves(false) {
		if out.Second = a.Second; !a.Serves(true) {
			out.Relayed, out.Second = a.Second, netip.AddrPort{}
		}
	}
	for _, p := range a.Permissions(now) {
		out.Permissions = append(out.Permissions, SessionPeer{Peer: p.Peer.String(), Expires: p.Expires.Round(0)})
	}
	for _, c := range a.Channels(now) {
		out.Channels = append(out.Channels, SessionPeer{Peer: c.Peer.String(), Channel: c.Number, Expires: c.Expires.Round(0)})
	}
	for _, c := range a.Conns() {
		one := SessionPeer{Peer: c.Peer.String()}
		if p, ok := c.Handle.(*peerConn); ok {
			one.Mode = p.mode
		}
		out.Connections = append(out.Connections, one)
	}
	for _, h := range [2]*relay{rel, rel.second} {
		if h != nil {
			out.Offloaded += h.offloadedLocked()
		}
	}
	sh.mu.Unlock()
	for _, peers := range [][]SessionPeer{out.Permissions, out.Channels, out.Connections} {
		slices.SortFunc(peers, func(a, b SessionPeer) int { return cmp.Compare(a.Peer, b.Peer) })
	}
	for _, h := range [2]*relay{rel, rel.second} {
		if h != nil {
			out.PacketsUp, out.BytesUp = out.PacketsUp+h.moved[up].packets.Load(), out.BytesUp+h.bytes(up)
			out.PacketsDown, out.BytesDown = out.PacketsDown+h.moved[down].packets.Load(), out.BytesDown+h.bytes(down)
		}
	}
	return out, !gone
}

// Kill ends the session with an ID, and says whether there was one. The client learns from its next request: 437.
func (s *Server) Kill(id string) bool {
	for _, sh := range s.shards {
		for _, a := range sh.all() {
			sh.mu.Lock()
			tuple, found := a.Tuple, sessionID(a) == id
			sh.mu.Unlock()
			if found {
				return sh.end(tuple)
			}
		}
	}
	return false
}

// sessionID expects the shard's lock, as a client may move.
func sessionID(a *alloc.Allocation) string {
	id := protocolName(a) + "/" + a.Relayed.String()
	if relayOf(a).shared != nil {
		id += "/" + a.Tuple.Transport.String() + "/" + a.Tuple.Client.String()
	}
	return id
}

func protocolName(a *alloc.Allocation) string {
	if a.Protocol == alloc.RelayTCP {
		return "tcp"
	}
	return "udp"
}
