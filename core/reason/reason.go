package reason

// Code is one word of the list. The zero value means that nothing is known about the reason.
type Code string

// Paths that were found.
const (
	DirectLAN    Code = "DIRECT_LAN"    // both ends share a link, loopback included
	DirectPublic Code = "DIRECT_PUBLIC" // an end is reachable at an address of its own
	DirectMapped Code = "DIRECT_MAPPED" // through a port mapping (UPnP, NAT-PMP, PCP)
	PunchedTCP   Code = "PUNCHED_TCP"   // simultaneous open through the NATs
	PunchedUDP   Code = "PUNCHED_UDP"
)

// Paths through a relay, and why not directly.
const (
	RelayPendingPunch   Code = "RELAY_PENDING_PUNCH"   // started on the relay, the direct path is still being tried
	RelaySymmetricBoth  Code = "RELAY_SYMMETRIC_BOTH"  // both NATs map each destination differently
	RelaySymmetricOne   Code = "RELAY_SYMMETRIC_ONE"   // one NAT maps each destination differently, the other lets in only whom it knows
	RelayTCPFiltered    Code = "RELAY_TCP_FILTERED"    // no direct TCP connection came through
	RelayUDPBlocked     Code = "RELAY_UDP_BLOCKED"     // no UDP leaves this network
	RelayFamilyMismatch Code = "RELAY_FAMILY_MISMATCH" // one end has only IPv4, the other only IPv6
	RelayPolicy         Code = "RELAY_POLICY"          // one end is set to relay-only
	RelayPunchTimeout   Code = "RELAY_PUNCH_TIMEOUT"   // the direct path answered too late
	RelayDirectDegraded Code = "RELAY_DIRECT_DEGRADED" // the direct path died or became worse than the relay
)

// No path, and which step failed.
const (
	NoRecord         Code = "NO_RECORD"         // the peer published no presence that we could find
	RecordStale      Code = "RECORD_STALE"      // there is presence, but it is too old to believe
	PeerSilent       Code = "PEER_SILENT"       // present, and did not answer (offline, or we are a stranger to it)
	NoPath           Code = "NO_PATH"           // both ends talked, and no candidate pair worked, relays included
	AuthRevoked      Code = "AUTH_REVOKED"      // the peer's device was revoked by its account
	AuthWrongKey     Code = "AUTH_WRONG_KEY"    // the peer showed another key than the device that was called
	RelayQuota       Code = "RELAY_QUOTA"       // the relay is out of allocations for us, or altogether
	RelayAuth        Code = "RELAY_AUTH"        // the relay refused our credentials
	RelayUnreachable Code = "RELAY_UNREACHABLE" // the relay did not answer
)

// Of returns the code of the first error in err's tree (itself, then what it wraps, depth first) that has one, and
// the zero Code when there is none. An error whose Reason is empty does not hide the one that it wraps.
func Of(err error) Code {
	if err == nil {
		return ""
	}
	if r, ok := err.(interface{ Reason() Code }); ok {
		if code := r.Reason(); code != "" {
			return code
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Of(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if code := Of(inner); code != "" {
				return code
			}
		}
	}
	return ""
}
