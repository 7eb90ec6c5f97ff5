package ice

import (
	"errors"
	"fmt"
	"net/netip"

	"traverse.internal/core/reason"
)

// Role says who called. It is fixed for the life of a connection (PROTOCOL.md 3).
type Role uint8

// Roles.
const (
	Offerer  Role = iota // calls; initially controlling; TLS server, waits for the first TLS byte
	Answerer             // is called; initially controlled; TLS client, speaks first on the chosen socket
)

// String returns "offerer" or "answerer".
func (r Role) String() string {
	if r == Answerer {
		return "answerer"
	}
	return "offerer"
}

// Policy says which paths a device wants. It travels in the Offer, and either side's setting rules.
type Policy uint8

// Policies.
const (
	Auto       Policy = iota // direct if it can be, relayed otherwise
	DirectOnly               // no relay is allocated, offered or dialled
	RelayOnly                // only relayed candidates are offered, only the peer's relayed ones are dialled
)

var policyNames = [...]string{Auto: "auto", DirectOnly: "direct-only", RelayOnly: "relay-only"}

// String returns the word that the command line and the configuration use.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy is the inverse of String. The empty string is Auto.
func ParsePolicy(s string) (Policy, error) {
	if s == "" {
		return Auto, nil
	}
	for p, name := range policyNames {
		if s == name {
			return Policy(p), nil
		}
	}
	return Auto, fmt.Errorf("ice: path policy %q is none of auto, direct-only, relay-only", s)
}

// agree returns the policy that rules when one side wants a and the other b.
func agree(a, b Policy) (Policy, error) {
	switch {
	case a == b || b == Auto:
		return a, nil
	case a == Auto:
		return b, nil
	}
	return Auto, errPolicies
}

// Route says which way a Path goes and why. Its words are those of the command line, the API and the metrics.
type Route struct {
	Kind   string         // "direct" or "relayed"
	Via    string         // "host/tcp", "srflx/tcp", "prflx/tcp" (an address that was not offered) or "relay/tcp"
	Reason reason.Code    // of core/reason's paths; both ends have the same
	Local  netip.AddrPort // our end of the socket
	Remote netip.AddrPort // the peer as we know it: on our own relay the address that the relay sees
	Relay  netip.AddrPort // the relayed address the path goes through; the zero value when direct
}

// Kinds of a Route.
const (
	Direct  = "direct"
	Relayed = "relayed"
)

// Errors that a caller may branch on.
var (
	ErrClosed     = errors.New("ice: closed")
	ErrBusy       = errors.New("ice: too many attempts at once")
	ErrNegotiated = errors.New("ice: attempt was negotiated already")
	ErrPortInUse  = errors.New("ice: port is in use")

	errPolicies = errors.New("one side wants direct paths only, the other relayed paths only")
)
