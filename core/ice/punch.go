package ice

import (
	"context"
	"time"

	"traverse.internal/core/reason"
)

// Policy returns the one of the Config.
func (e *Endpoint) Policy() Policy { return e.cfg.Policy }

// GatherDirect is Gather for a direct path only, while a relayed one is in use: no relay lends anything, though relays still say
// how they see our port. The peer does the same, and Negotiate follows on both sides, at one moment where the caller can time it. It fails where only relayed paths are wanted.
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

// Repunch is the pause before try n, from 0, of a direct path: first, then twice as long each time, most at the longest.
func Repunch(n int, first, most time.Duration) time.Duration {
	for ; n > 0 && first < most; n-- {
		first *= 2
	}
	return min(first, most)
}
