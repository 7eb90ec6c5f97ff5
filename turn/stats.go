package turn

import (
	"sync/atomic"
	"time"

	"traverse.internal/core/offload"
	"traverse.internal/core/udp"
	"traverse.internal/core/zerocopy"
	"traverse.internal/turn/alloc"
	"traverse.internal/turn/push"
)

// DropReason says why a packet was not relayed.
type DropReason uint8

// The reasons.
const (
	DropGarbage      DropReason = iota // neither STUN nor ChannelData, or a broken one
	DropNoAllocation                   // from a client without one
	DropWrongKind                      // Send or ChannelData on a TCP allocation
	DropUnbound                        // ChannelData on a number that is not bound
	DropNoPermission                   // to or from a peer without permission
	DropDenied                         // Send to an endpoint that policy denies
	DropUnknown                        // an indication with an attribute or method not understood
	DropStranger                       // an unauthenticated source over its rate
	DropSlowClient                     // a TCP client that does not read
	DropSend                           // refused by the kernel, or its queue is full
	DropRate                           // beyond the bytes a second of its user, its source or the server
	DropTooBig                         // longer than the path takes, or than a message of STUN
	DropAmbiguous                      // from a peer whom several allocations of a shared relayed address permit and none has claimed
	DropTaken                          // to a peer whom another allocation of a shared relayed address has
	numDropReasons
)

var dropNames = [numDropReasons]string{
	"garbage", "no_allocation", "wrong_kind", "unbound_channel", "no_permission", "denied_endpoint", "unknown_attribute",
	"stranger_rate", "slow_client", "send_failed", "rate", "too_big", "ambiguous_peer", "peer_taken",
}

// String returns the reason as a metric label has it.
func (r DropReason) String() string { return dropNames[r] }

// authFailure says why a request was not taken as its user's.
type authFailure uint8

const (
	authMissing   authFailure = iota // no MESSAGE-INTEGRITY: the first request of every client
	authMalformed                    // integrity, but no user name, realm or nonce
	authNonce                        // stale, or another client's
	authRealm
	authUser // unknown
	authPassword
	authOther   // another user's allocation
	authExpired // of time-limited credentials
	numAuthFailures
)

var authNames = [numAuthFailures]string{"missing", "malformed", "nonce", "realm", "user", "password", "other_user", "expired"}

// Indices of the counters.
const (
	up   = iota // client to peer
	down        // peer to client

	ip4 = iota - 2
	ip6
)

var (
	dirNames    = [2]string{"up", "down"}
	familyNames = [2]string{"4", "6"}
)

// counters of a shard. Nobody else writes them.
type counters struct {
	packets     [2][2]atomic.Uint64                  // datagrams, by direction and family
	bytes       [2][2]atomic.Uint64                  // and their payload
	flows       [2][2]zerocopy.Flow                  // of TCP allocations
	allocations [2][alloc.NumTransports]atomic.Int64 // now, by relayed family and client transport
	tcp         atomic.Int64                         // of those, TCP allocations
	created     atomic.Uint64                        // allocations ever
	conns       atomic.Int64                         // pairs of data connections now
	drops       [numDropReasons]atomic.Uint64
	denied      [numDenyReasons]atomic.Uint64
	auth        [numAuthFailures]atomic.Uint64
	quota       [3]atomic.Uint64 // 486, 508, 300
	requests    atomic.Uint64
	icmp        atomic.Uint64 // errors told to clients
	io          udp.Stats
}

func (c *counters) drop(r DropReason)  { c.drops[r].Add(1) }
func (c *counters) fail(f authFailure) { c.auth[f].Add(1) }

func (c *counters) relayed(direction, family int, packets, bytes uint64) {
	c.packets[direction][family].Add(packets)
	c.bytes[direction][family].Add(bytes)
}

// dropped counts what the kernel did not take.
func (c *counters) dropped(d udp.Drops) {
	if d == (udp.Drops{}) {
		return
	}
	c.drops[DropSend].Add(uint64(d.Full + d.Refused))
	c.drops[DropTooBig].Add(uint64(d.TooBig))
}

// Stats is a copy of the server's counts. Those that only grow count from New.
type Stats struct {
	Allocations        []AllocationCount
	TCPAllocations     int    // of those, RFC 6062's
	AllocationsCreated uint64 // ever
	Reserved           int    // ports that wait for their token
	Relayed            []RelayCount
	Datagrams          udp.Counts        // of all UDP sockets: datagrams, trains of them, system calls
	Connected          int               // sockets at relayed addresses that are connected to their busiest peers, now
	ICMP               uint64            // errors of peers that clients were told of
	Requests           uint64            // STUN requests understood
	AuthFailures       map[string]uint64 // by reason: missing, malformed, nonce, realm, user, password, other_user, expired
	DeniedPeers        map[string]uint64 // by reason: special, own, metadata, rule, endpoint
	Drops              map[string]uint64 // by DropReason
	Refusals           map[string]uint64 // by code: 486, 508, 300
	Quotas             map[string]uint64 // refusals by the limit that did it, an alloc.Quota
	Revoked            uint64            // permissions and channels that a reload took back
	Draining           bool
	CertBegins         time.Time // zero: no certificate
	CertExpires        time.Time
	CertFailures       uint64         // changes of its files that could not be used
	Offload            *offload.Stats // nil: nothing is relayed in the kernel
	Streams            int            // TCP connections and DTLS sessions of clients, data connections included
	Strangers          int            // of those, not authenticated
	DTLSSessions       int            // of those, DTLS
	DTLSPending        int            // of those, handshakes under way
	// DTLSHandshakes by how they ended: done, failed, timeout, refused (too many clients), dropped (too many at once); and
	// asked, ClientHellos that were answered by a cookie and nothing else.
	DTLSHandshakes map[string]uint64
	DataPairs      int         // peer connections joined with their client's
	Push           *push.Stats // nil: nothing is pushed
}

// AllocationCount is the number of allocations of a relayed family ("4", "6") from a client transport ("udp", "tcp", "tls", "dtls").
type AllocationCount struct {
	Family, Transport string
	Count             int
}

// RelayCount is what was relayed in a direction ("up": to the peer, "down": to the client) and family, and how:
// "batch" are datagrams, "tc" those that stayed in the kernel, "splice" and "copy" TCP connections that stayed in the kernel or did not. Packets are counted
// for datagrams only.
type RelayCount struct {
	Dir, Family, Mode string
	Packets, Bytes    uint64
}

// Stats returns the counts. Safe for concurrent use.
func (s *Server) Stats() Stats {
	st := Stats{
		AuthFailures: make(map[string]uint64),
		DeniedPeers:  make(map[string]uint64),
		Drops:        make(map[string]uint64),
		Refusals:     make(map[string]uint64),
	}
	st.Quotas = s.refusals()
	if s.kernel.off != nil {
		kernel := s.kernel.off.Stats()
		st.Offload = &kernel
	}
	st.Streams, st.Strangers = s.door.counts()
	st.DTLSPending, st.DTLSSessions = s.dtlsCounts()
	if d := &s.dtlsStats; s.secured() {
		st.DTLSHandshakes = map[string]uint64{
			"asked": d.asked.Load(), "done": d.done.Load(), "failed": d.failed.Load(), "timeout": d.timeout.Load(),
			"refused": d.refused.Load(), "dropped": d.dropped.Load(),
		}
	}
	if s.pusher != nil {
		pushed := s.pusher.hub.Stats()
		st.Push = &pushed
	}
	if s.cert != nil {
		st.CertBegins, st.CertExpires = s.cert.valid()
		st.CertFailures = s.cert.failures.Load()
	}
	st.Revoked, st.Draining = s.revoked.Load(), s.draining.Load()
	s.ledgerMu.Lock()
	st.Reserved = s.ledger.Reserved()
	s.ledgerMu.Unlock()
	for family, familyName := range familyNames {
		for transport := range alloc.NumTransports {
			count := AllocationCount{Family: familyName, Transport: alloc.Transport(transport).String()}
			for _, sh := range s.shards {
				count.Count += int(sh.stats.allocations[family][transport].Load())
			}
			st.Allocations = append(st.Allocations, count)
		}
		for dir, dirName := range dirNames {
			batch := RelayCount{Dir: dirName, Family: familyName, Mode: "batch"}
			splice := RelayCount{Dir: dirName, Family: familyName, Mode: "splice"}
			copied := RelayCount{Dir: dirName, Family: familyName, Mode: "copy"}
			for _, sh := range s.shards {
				batch.Packets += sh.stats.packets[dir][family].Load()
				batch.Bytes += sh.stats.bytes[dir][family].Load()
				splice.Bytes += sh.stats.flows[dir][family].Spliced.Load()
				copied.Bytes += sh.stats.flows[dir][family].Copied.Load()
			}
			st.Relayed = append(st.Relayed, batch, splice, copied)
			if s.kernel.off != nil {
				m := &s.kernel.moved[dir][family]
				st.Relayed = append(st.Relayed, RelayCount{
					Dir: dirName, Family: familyName, Mode: "tc", Packets: m.packets.Load(), Bytes: m.bytes.Load(),
				})
			}
		}
	}
	for _, sh := range s.shards {
		c := &sh.stats
		st.TCPAllocations += int(c.tcp.Load())
		st.AllocationsCreated += c.created.Load()
		st.Requests += c.requests.Load()
		st.ICMP += c.icmp.Load()
		st.Datagrams.Add(c.io.Load())
		sh.mu.Lock()
		st.Connected += len(sh.directs)
		sh.mu.Unlock()
		st.DataPairs += int(c.conns.Load())
		sum(st.AuthFailures, c.auth[:], func(i int) string { return authNames[i] })
		sum(st.DeniedPeers, c.denied[1:], func(i int) string { return denyNames[i+1] })
		sum(st.Drops, c.drops[:], func(i int) string { return dropNames[i] })
		sum(st.Refusals, c.quota[:], func(i int) string { return [3]string{"486", "508", "300"}[i] })
	}
	return st
}

func sum(into map[string]uint64, counts []atomic.Uint64, name func(int) string) {
	for i := range counts {
		into[name(i)] += counts[i].Load()
	}
}

// OffloadShare returns the part of the relayed datagrams that stayed in the kernel, 0 to 1.
func (st Stats) OffloadShare() float64 {
	var tc, all uint64
	for _, r := range st.Relayed {
		switch r.Mode {
		case "tc":
			tc += r.Packets
			all += r.Packets
		case "batch":
			all += r.Packets
		}
	}
	if all == 0 {
		return 0
	}
	return float64(tc) / float64(all)
}
