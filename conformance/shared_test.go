package conformance_test

import (
	"testing"

	"traverse.internal/conformance"
	"traverse.internal/turn"
)

// sharedGaps are the behaviours that cannot be shown where relayed addresses are shared, and why (docs/protocol/turn.md §2).
var sharedGaps = map[int]string{
	37: "the relayed port is others', too, and stays open",
	48: "the next port is one of the others'",
	49: "the next port is others' already",
	63: "the relayed port is others', too, and stays open",
}

func TestOurServerShared(t *testing.T) {
	t.Parallel()
	config := serve(t, func(c *turn.Config) {
		c.RelayMode, c.PortMax = turn.RelayShared, 49152+31
		c.PortMin = 49152 // few, so that they are seldom beside a port of the other tests' servers
	})
	config.Parallel = 1 // one check's stray datagrams could be another's
	report := run(t, config)
	for _, r := range report.Results {
		_, known := knownGaps[r.Number]
		why, otherwise := sharedGaps[r.Number]
		switch {
		case otherwise && r.Status == conformance.Pass:
			t.Errorf("%d passes: remove it from sharedGaps (%s)", r.Number, why)
		case !otherwise && r.Status == conformance.Fail, !otherwise && !known && r.Status == conformance.Skip:
			t.Errorf("%d %s: %s\n\t%s", r.Number, r.Status, r.Must, r.Detail)
		}
	}
}
