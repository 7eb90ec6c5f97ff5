package offload

import (
	"errors"
	"net/netip"
	"time"
)

const (
	// MaxFlows is how many channels fit: two flows of 192 bytes in the kernel's hash (taken as they come, 12 MiB when it is
	// full) and two leases of 64 bytes (4 MiB, taken at once) each. More stay in user space and are counted.
	MaxFlows = kernelFlows/2 - 1
	// MaxLease is how long the kernel relays on without hearing from this process.
	MaxLease = 5 * time.Second
	// MaxBuckets is how many quotas there can be: 64 bytes each, 1 MiB.
	MaxBuckets = kernelBuckets - 1

	kernelFlows   = 1 << 16 // MAX_FLOWS of relay.c
	kernelBuckets = 1 << 14 // MAX_BUCKETS
	maxLost       = 10      // detachments of one interface after which it is left alone
)

// Config says whom to report to.
type Config struct {
	// Report hears what an operator should know, from within Sweep: a program detached by others, an interface that cannot
	// be used. Default: nobody.
	Report func(error)
	// NoTCX attaches as before Linux 6.6, by a clsact filter.
	NoTCX bool
}

// Flow is one channel of an allocation. Client and Server, and Relayed and Peer, are seen from this machine: what is on the
// wire here, behind a NAT too.
type Flow struct {
	Client, Server netip.AddrPort
	Relayed, Peer  netip.AddrPort
	Channel        uint16
	Up, Down       Bucket // quotas of the directions; 0: none
	Again          bool   // it was refused before, and is not counted once more
}

// Handle names a flow that was inserted. The zero value is none.
type Handle uint32

// Bucket names a quota. The zero value is none.
type Bucket uint32

// Counts are datagrams and bytes of payload.
type Counts struct{ Packets, Bytes uint64 }

// Both are the counts of one flow since it was inserted.
type Both struct{ Up, Down Counts }

// What [Relay.Insert] refuses with; the flow stays in user space.
var (
	ErrFull   = errors.New("offload: the table is full")
	ErrFamily = errors.New("offload: client and peer are not of one family")
	ErrScope  = errors.New("offload: an address that holds on one link only, or none")
	ErrLocal  = errors.New("offload: client or peer is this machine")
	ErrRoute  = errors.New("offload: there is no way to client or peer through an Ethernet interface")
	ErrClash  = errors.New("offload: another flow has these addresses")
	ErrKernel = errors.New("offload: the kernel did not take the flow")
	ErrClosed = errors.New("offload: closed")
)

// refusals are the names that metrics have for them.
var refusals = []struct {
	err  error
	name string
}{
	{ErrFull, "full"},
	{ErrFamily, "family"},
	{ErrScope, "scope"},
	{ErrLocal, "local"},
	{ErrRoute, "route"},
	{ErrClash, "clash"},
	{ErrKernel, "kernel"},
}

// Stats is a copy of the counts, which begin with Open.
type Stats struct {
	Interfaces []Interface       // that packets are taken from, by name
	Flows      int               // now
	Relayed    []Relayed         // by direction and family
	Left       map[string]uint64 // packets of UDP left to user space, by reason; what is nobody's flow is not counted
	Refused    map[string]uint64 // flows not taken, by reason: full, family, scope, local, route, clash, kernel
	Detached   uint64            // times that somebody else took the program off an interface
}

// Interface is one that the program is attached to, or should be.
type Interface struct {
	Name string `json:"name"`
	How  string `json:"how"`           // tcx or clsact; empty when it is not attached
	Why  string `json:"why,omitempty"` // it is not
}

// Relayed is what went one way ("up": to peers, "down": to clients) in one family ("4", "6").
type Relayed struct {
	Dir, Family string
	Counts
}

// leftNames are the reasons from LEFT_OPTIONS of relay.c on.
var leftNames = []string{
	"options", "fragment", "shape", "train", "checksum", "mtu", "hops", "expired", "epoch", "quota", "failed",
}
