package ktls

import "sync/atomic"

// Stats are the process's counts.
type Stats struct {
	Available bool   // the probe has run and found it
	Probed    bool   // the probe has run
	Kernel    uint64 // connections that were handed to the kernel
	// User counts connections that stayed with crypto/tls, by why: "kernel" has none, "suite" is another version or
	// cipher, "socket" is no TCP socket of ours, "ahead" was read beyond the handshake, "error" is a refusal.
	User map[string]uint64
	// Alerts and Bad count what peers sent on connections in the kernel: alerts but for close_notify, and records that
	// were refused, key updates among them.
	Alerts, Bad uint64
}

// Reason is why a connection stays with crypto/tls.
type Reason uint8

// The reasons.
const (
	NoKernel   Reason = iota // the kernel has no TLS for us
	OtherSuite               // not TLS 1.3 with AES-128-GCM
	NoSocket                 // not a bare TCP socket
	ReadAhead                // bytes behind the handshake have been read already
	Refused                  // the kernel refused this connection
	reasons
)

var reasonNames = [reasons]string{"kernel", "suite", "socket", "ahead", "error"}

func (r Reason) String() string { return reasonNames[r] }

var totals struct {
	kernel, alerts, bad atomic.Uint64
	user                [reasons]atomic.Uint64
}

// Stay counts a connection that stays with crypto/tls. Attach counts for itself when it returns ErrUnavailable.
func Stay(why Reason) { totals.user[why].Add(1) }

// ReadStats returns the counts. Safe for concurrent use.
func ReadStats() Stats {
	s := Stats{Kernel: totals.kernel.Load(), Alerts: totals.alerts.Load(), Bad: totals.bad.Load(), User: map[string]uint64{}}
	for why := range reasons {
		s.User[why.String()] = totals.user[why].Load()
	}
	switch probed.Load() {
	case probedYes:
		s.Probed, s.Available = true, true
	case probedNo:
		s.Probed = true
	}
	return s
}

// probed is what is known of the kernel.
var probed atomic.Int32

const (
	probedYes = 1
	probedNo  = 2
)
