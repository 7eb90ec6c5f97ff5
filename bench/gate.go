package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// slack is how far below its target a ratio may be in a gate: what two runs of one program differ by on a busy machine. Costs
// that are as they are (seconds, milliseconds) gate nothing; memory does, which no neighbour changes.
const slack = 0.75

// secondLook is how many times the rounds a row gets that was below its floor: a neighbour that took the core in the first look
// is not likely to be there again, and the best round counts.
const secondLook = 3

// lookLimit is how long those second looks may take together.
const lookLimit = 3 * time.Minute

// fault says why a row fails the gate; empty: it does not. A row that could not be measured fails nothing.
func (r row) fault() string {
	x, against := r.ratio()
	switch {
	case r.err != nil, r.goal.gate == shown:
	case r.goal.absolute && (r.goal.gate == counts || r.unit == "KB" || r.unit == "growth in MB" || r.unit == "MB of its process"):
		if r.ours.cost > r.goal.must {
			return fmt.Sprintf("%.4g %s, more than %.4g", r.ours.cost, r.unit, r.goal.must)
		}
	case !r.goal.absolute && r.goal.must > 0 && x > 0 && x < slack*r.goal.must:
		return fmt.Sprintf("%.2fx %s, the floor is %.2fx (%.2f of %.4gx)", x, against, slack*r.goal.must, slack, r.goal.must)
	}
	return ""
}

// lookAgain measures the benches once more that have a row at fault, with more rounds, and puts what it finds in their place.
func lookAgain(ctx context.Context, list []bench, set settings, rows []row) ([]row, error) {
	set.rounds *= secondLook
	began := time.Now()
	for _, b := range list {
		doubted := false
		for _, r := range rows {
			if r.group == b.group && r.bench == b.name && r.fault() != "" {
				fmt.Fprintf(set.talk, "gate: looking again: %s: %s\n", r.bench, r.fault())
				doubted = true
			}
		}
		if !doubted || time.Since(began) > lookLimit {
			continue // what there is no time for stays as it was: at fault
		}
		for _, better := range runOne(ctx, b, set) {
			for i, r := range rows {
				if r.group == better.group && r.bench == better.bench && r.unit == better.unit && better.err == nil {
					rows[i] = better
				}
			}
		}
		if ctx.Err() != nil {
			return rows, context.Cause(ctx)
		}
	}
	return rows, nil
}

// gate says which rows are at fault. A bench that could not be measured is said, too.
func gate(out io.Writer, rows []row) int {
	bad, measured := 0, 0
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(out, "gate: NOT MEASURED: %s: %v\n", r.bench, r.err)
			continue
		}
		measured++
		if why := r.fault(); why != "" {
			bad++
			fmt.Fprintf(out, "gate: %s: %s\n", r.bench, why)
		}
	}
	if bad > 0 {
		return 1
	}
	if measured == 0 {
		fmt.Fprintln(out, "gate: nothing was measured: that is no pass")
		return 1
	}
	fmt.Fprintf(out, "gate: all %d rows that were measured are above their floors\n", measured)
	return 0
}
