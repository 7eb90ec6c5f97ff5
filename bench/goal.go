package main

import "fmt"

// A goal is what PERFORMANCE's first table asks of one cost: a ratio against the cheapest opponent of the run, or a cost that
// must not be exceeded whatever others need. The zero value asks nothing.
type goal struct {
	must, stretch float64
	absolute      bool // costs, lower is better; otherwise ratios
	gate          gating
}

// gating says whether a row counts in the gate.
type gating uint8

const (
	byKind gating = iota // ratios do, and what memory needs: what a busy machine leaves as it is
	counts               // a counter, which no neighbour changes: by its must
	shown                // no: the opponents' cost depends on how busy the machine is
)

func ratio(must, stretch float64) goal  { return goal{must: must, stretch: stretch} }
func atMost(must, stretch float64) goal { return goal{must: must, stretch: stretch, absolute: true} }

// in is the goal with another part in the gate.
func (g goal) in(gate gating) goal {
	g.gate = gate
	return g
}

// unit is one cost of a bench.
type unit struct {
	name string
	goal goal
}

func (g goal) text(x float64) string {
	switch {
	case x == 0 && (!g.absolute || g.must == 0):
		return "-"
	case g.absolute:
		return fmt.Sprintf("≤ %.4g", x)
	}
	return fmt.Sprintf("%.4gx", x)
}

// The verdicts on a row.
const (
	verdictNone    = "-" // nothing is asked, or there was nobody to compare with
	verdictMissed  = "MISSED"
	verdictMust    = "met"
	verdictStretch = "stretch"
)

// verdict compares what was measured with what is asked.
func (g goal) verdict(cost, ratio float64) string {
	if g.must == 0 || !g.absolute && ratio == 0 {
		return verdictNone
	}
	reached := func(limit float64) bool {
		if g.absolute {
			return cost <= limit
		}
		return ratio >= limit
	}
	switch {
	case reached(g.stretch):
		return verdictStretch
	case reached(g.must):
		return verdictMust
	}
	return verdictMissed
}
