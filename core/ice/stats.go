package ice

import "sync/atomic"

// Stats counts since the Endpoint was opened. Live is a gauge.
type Stats struct {
	Attempts     uint64 // gathered
	Live         uint64 // attempts that are open now
	Direct       uint64 // negotiations that ended in a direct path
	Relayed      uint64 // ... in a relayed one
	Failed       uint64 // ... without a path
	Punched      uint64 // negotiations between two NATs that ended in a direct path over TCP
	PunchedUDP   uint64 // ... over UDP
	PunchRelayed uint64 // ... in a relayed one, TCP among what was tried
	PunchFailed  uint64 // ... without a path, TCP among what was tried

	PunchRelayedUDP, PunchFailedUDP uint64 // the same two, UDP among what was tried
	Dials                           uint64 // connections tried
	DialFailures                    uint64 // ... that were refused, timed out or found the address pair taken
	Accepted                        uint64 // connections that reached a listener
	Routed                          uint64 // ... and named an attempt, with its password
	Stray                           uint64 // ... and named an attempt that is not here, over most likely
	Garbage                         uint64 // connections closed because they sent something else than checks, or had not the password
	Silent                          uint64 // accepted connections closed because their first frame did not come in time
	Refused                         uint64 // accepted connections closed unread: too many unrouted ones from one source
	Evicted                         uint64 // accepted connections closed before they said whose they are, to make room for another source's
	Crossed                         uint64 // connections that merged two attempts by simultaneous open, and were closed
	Allocations                     uint64 // relay allocations made
	RelayFailures                   uint64 // relay allocations refused or not answered
	UDPStray                        uint64 // datagrams that were nobody's: no known tag or name, another password, another address
	AcceptFailures                  uint64 // errors of accept itself, as when descriptors run out
}

// stats is Stats while it is being counted.
type stats struct {
	attempts, direct, relayed, failed          atomic.Uint64
	punched, punchRelayed, punchFailed         [2]atomic.Uint64 // over TCP, over UDP
	dials, dialFailures                        atomic.Uint64
	accepted, routed, stray, garbage           atomic.Uint64
	silent, refused, evicted, crossed          atomic.Uint64
	allocations, relayFailures, acceptFailures atomic.Uint64
	udpStray                                   atomic.Uint64
}

// Stats returns the counters. They are read one by one, so sums may be off by what happens meanwhile.
func (e *Endpoint) Stats() Stats {
	e.mu.Lock()
	live := uint64(len(e.attempts))
	e.mu.Unlock()
	s := &e.stats
	return Stats{
		Attempts: s.attempts.Load(), Live: live,
		Direct: s.direct.Load(), Relayed: s.relayed.Load(), Failed: s.failed.Load(),
		Punched: s.punched[0].Load(), PunchRelayed: s.punchRelayed[0].Load(), PunchFailed: s.punchFailed[0].Load(),
		PunchedUDP: s.punched[1].Load(), PunchRelayedUDP: s.punchRelayed[1].Load(), PunchFailedUDP: s.punchFailed[1].Load(),
		Dials: s.dials.Load(), DialFailures: s.dialFailures.Load(),
		Accepted: s.accepted.Load(), Routed: s.routed.Load(), Stray: s.stray.Load(), Garbage: s.garbage.Load(),
		Silent: s.silent.Load(), Refused: s.refused.Load(), Evicted: s.evicted.Load(), Crossed: s.crossed.Load(),
		Allocations: s.allocations.Load(), RelayFailures: s.relayFailures.Load(), AcceptFailures: s.acceptFailures.Load(),
		UDPStray: s.udpStray.Load(),
	}
}
