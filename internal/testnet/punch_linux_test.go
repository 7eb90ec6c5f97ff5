package testnet

import (
	"fmt"
	"testing"

	"traverse.internal/internal/netlab"
)

// TestPunchesAreCounted: real nodes behind NATs that let a punch through, that let one through over UDP only, and that let none through; what /metrics says of it at both ends.
func TestPunchesAreCounted(t *testing.T) {
	t.Parallel()
	program := nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	for _, c := range []struct {
		kinds    [2]Kind
		path     string // that the session has at first, as `why` has its reason
		some, no []string
	}{
		{
			kinds: [2]Kind{Restricted, Restricted}, path: "direct",
			some: []string{counted("tcp", "punched")},
		},
		{
			kinds: [2]Kind{Restricted, Filtered}, path: "direct",
			some: []string{counted("udp", "punched")},
			no:   []string{counted("tcp", "punched")},
		},
		{
			kinds: [2]Kind{Symmetric, Symmetric}, path: "relayed",
			some: []string{counted("tcp", "relayed"), counted("udp", "relayed")},
			no:   []string{counted("tcp", "punched"), counted("udp", "punched")},
		},
	} {
		name := fmt.Sprintf("%s to %s", c.kinds[0], c.kinds[1])
		a, b, _, up := w.pushed(t, program, c.kinds[:]...)
		up(a)
		up(b)
		a.run(t, "--timeout", "60s", "ping", "b", "-c", "1")
		for i, n := range []*home{a, b} {
			m := n.metrics(t)
			for _, key := range c.some {
				if m[key] < 1 {
					t.Errorf("%s, side %d: %s is %v, want 1 or more", name, i, key, m[key])
				}
			}
			for _, key := range c.no {
				if m[key] != 0 {
					t.Errorf("%s, side %d: %s is %v, want 0", name, i, key, m[key])
				}
			}
			if m[`node_ice_negotiations_total{outcome="`+c.path+`"}`] < 1 {
				t.Errorf("%s, side %d: no path was %s", name, i, c.path)
			}
		}
		if t.Failed() {
			t.Log(a.run(t, "why", "b"))
		}
	}
}

func counted(transport, outcome string) string {
	return fmt.Sprintf(`node_punch_attempts_total{outcome=%q,transport=%q}`, outcome, transport)
}
