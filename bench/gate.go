package main

import (
	"fmt"
	"io"
)

// slack is how far below its target a ratio may be in a gate: what two runs of one program differ by on a busy machine. Costs
// that are as they are (seconds, milliseconds) gate nothing; memory does, which no neighbour changes.
const slack = 0.75

// gate fails when a ratio is below its floor. A bench that could not be measured fails nothing, and is said.
func gate(out io.Writer, rows []row) int {
	bad := 0
	for _, r := range rows {
		x, against := r.ratio()
		switch {
		case r.err != nil:
			fmt.Fprintf(out, "gate: NOT MEASURED: %s: %v\n", r.bench, r.err)
		case r.goal.absolute && (r.unit == "KB" || r.unit == "growth in MB" || r.unit == "MB of its process"):
			if r.ours.cost > r.goal.must {
				bad++
				fmt.Fprintf(out, "gate: %s: %.4g %s, more than %.4g\n", r.bench, r.ours.cost, r.unit, r.goal.must)
			}
		case !r.goal.absolute && r.goal.must > 0 && x > 0 && x < slack*r.goal.must:
			bad++
			fmt.Fprintf(out, "gate: %s: %.2fx %s, the floor is %.2fx (%.2f of %.4gx)\n", r.bench, x, against, slack*r.goal.must, slack, r.goal.must)
		}
	}
	if bad > 0 {
		return 1
	}
	fmt.Fprintln(out, "gate: every ratio is above its floor")
	return 0
}
