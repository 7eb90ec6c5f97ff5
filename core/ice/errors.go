package ice

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"traverse.internal/core/reason"
)

// Try is what became of one way to the peer.
type Try struct {
	Addr    netip.AddrPort // of the peer, or of its relay
	Local   netip.AddrPort // our end of the newest connection there; the zero value without one
	Type    CandidateType
	Relayed bool
	UDP     bool
	Dials   int
	State   string        // "not tried", "no answer", "no connection", "connected, no answer", "checked, not chosen" or "chosen, silent"; in a Report also "chosen" and "left out"
	After   time.Duration // from the attempt's beginning to the newest change; 0: nothing was done
	Err     error         // of the last dial or connection; may be nil
}

func (t Try) String() string {
	kind := Direct
	if t.Relayed {
		kind = Relayed
	}
	if t.UDP {
		kind += " UDP"
	}
	s := fmt.Sprintf("%s %v: %s", kind, t.Addr, t.State)
	if t.Err != nil {
		s += fmt.Sprintf(" (%v)", t.Err)
	}
	return s
}

// NoPathError says that no path was found, and what became of every way that was tried.
type NoPathError struct {
	Code      reason.Code // NO_PATH, RELAY_POLICY where the two policies exclude each other, or of our relay if it failed: RELAY_AUTH, RELAY_QUOTA, RELAY_UNREACHABLE
	Policy    Policy      // that ruled
	Tries     []Try
	Swallowed bool  // a direct path was chosen, and nothing came over it any more
	Err       error // what ended the search: the context, our relays, or a rule; may be nil
}

func (e *NoPathError) Error() string {
	var b strings.Builder
	b.WriteString("ice: no path")
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for i, t := range e.Tries {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + t.String())
	}
	return b.String()
}

// Reason returns Code.
func (e *NoPathError) Reason() reason.Code { return e.Code }

// Unwrap returns Err.
func (e *NoPathError) Unwrap() error { return e.Err }

var (
	errNoWay     = errors.New("neither side has an address that the policy allows")
	errBroke     = errors.New("the chosen connection broke")
	errNoSharing = errors.New("ports cannot be shared on this system")
	errUseless   = errors.New("the relay's answer is no address")
	errNoRelay   = errors.New("no relay to ask")
	errNothing   = fmt.Errorf("nothing came on any of them, from either side: %w", os.ErrDeadlineExceeded)
	errSilent    = errors.New("the chosen connection stays silent")
	errFrames    = errors.New("the offerer spoke first")
)

// timedOut makes a context's deadline satisfy os.ErrDeadlineExceeded as well.
func timedOut(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%w)", err, os.ErrDeadlineExceeded)
	}
	return err
}

// noPath describes a failed attempt.
func (a *Attempt) noPath(cause error) *NoPathError {
	relays := a.RelayErr()
	e := &NoPathError{Code: reason.NoPath, Err: cause}
	a.mu.Lock()
	defer a.mu.Unlock()
	e.Policy = a.policy
	if errors.Is(cause, errPolicies) {
		e.Code = reason.RelayPolicy
		return e // nothing was tried
	}
	if relays != nil && a.policy != DirectOnly {
		e.Code = reason.Of(relays)
		e.Err = errors.Join(cause, relays)
	}
	e.Swallowed = errors.Is(cause, errSilent) && a.silentLocked()
	e.Tries = append(a.triesLocked(nil, false), a.udpTries(nil)...)
	return e
}

// silentLocked reports whether the connection that was nominated is a direct one.
func (a *Attempt) silentLocked() bool {
	for s := range a.streams {
		if s.state().nominated && !s.relay.IsValid() {
			return true
		}
	}
	return false
}

// state says how far a leg came.
func (l *leg) state() string {
	if l.stream == nil {
		if l.tries == 0 {
			return "not tried"
		}
		if l.err == nil {
			return "no answer" // to a dial that has not ended
		}
		return "no connection"
	}
	switch x := l.stream.state(); {
	case x.nominated:
		return "chosen, silent"
	case x.answered:
		return "checked, not chosen"
	}
	return "connected, no answer"
}
