package ice

import (
	"context"
	"time"

	"traverse.internal/core/reason"
)

// Policy returns the one of the Config.
func (e *Endpoint) Policy() Policy { return e.cfg.Policy }

// GatherDirect is Gather for a direct path only, while a relayed one is in use: no relay lends anything, though relays still say
// how they see our port. The peer does the same, and Punch follows on both sides. It fails where only relayed paths are wanted.
func (e *Endpoint) GatherDirect(ctx context.Context) (*Attempt, error) {
	if e.cfg.Policy == RelayOnly {
		return nil, &NoPathError{Code: reason.RelayPolicy, Policy: RelayOnly, Err: errPolicies}
	}
	return e.GatherWith(ctx, DirectOnly)
}

// GatherWith is Gather by another policy than the Config's.
func (e *Endpoint) GatherWith(ctx context.Context, policy Policy) (*Attempt, error) {
	return e.begin(ctx, newAttempt(e, policy))
}

// GatherDetour is Gather after a direct path was chosen and swallowed what was said on it (NoPathError.Swallowed): this attempt uses and offers relayed
// paths only. Its policy is not relay-only all the same, so that both sides look for a direct path later on.
func (e *Endpoint) GatherDetour(ctx context.Context) (*Attempt, error) {
	a := newAttempt(e, RelayOnly)
	a.detour = true
	return e.begin(ctx, a)
}

// Punch is Negotiate that begins at a time: when both sides' dials leave together, each opens its NAT before the other's comes.
// Who has the peer's offer first waits for half of the session's round trip. A dial that a NAT refuses is repeated, 50 to
// 500 ms apart, for 10 s; when all has failed, the caller gathers anew, later, or when Endpoint.Changed says so.
func (a *Attempt) Punch(ctx context.Context, role Role, remote Offer, at time.Time) (*Path, error) {
	if !sleep(ctx, time.Until(at)) {
		a.Close()
		return nil, a.noPath(timedOut(ctx.Err()))
	}
	return a.Negotiate(ctx, role, remote)
}

// Repunch is the pause before try n, from 0, of a direct path: first, then twice as long each time, most at the longest.
func Repunch(n int, first, most time.Duration) time.Duration {
	for ; n > 0 && first < most; n-- {
		first *= 2
	}
	return min(first, most)
}
