package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A bench is one comparison: the same work, done by ours and by others.
type bench struct {
	group string // what -only selects, and what is drawn together
	name  string
	units []unit // what each cost of a sample is; one row of the report each
	quick bool   // is part of -quick
	open  func(ctx context.Context, set settings) (*rig, error)
}

// A rig is a bench that has been set up. Nothing in it runs while another variant
// is measured, but for servers that wait.
type rig struct {
	variants []variant // ours first
	missing  []string  // opponents that are not here, and what would bring them
	close    func()
}

// A variant is one program doing the work. One that is aside is measured and shown,
// and not what the ratio is against.
type variant struct {
	name  string
	aside bool
	run   func(ctx context.Context) (sample, error)
}

// A sample is one variant's round: a cost per unit of the bench, and the throughput
// beside it, for the eye only.
type sample struct {
	cost []float64
	note string
}

// A row is one line of the report.
type row struct {
	group, bench, unit string
	goal               goal
	ours               result
	others             []result
	missing            []string
	err                error
}

// result is a variant's best round.
type result struct {
	name  string
	aside bool
	cost  float64
	note  string
}

// errMissing is a bench that cannot run because a program is not here.
var errMissing = errors.New("not measured")

// ratio is how many times the cheapest opponent's cost is ours; 0 without one.
func (r row) ratio() (float64, string) {
	best := result{}
	for _, o := range r.others {
		if !o.aside && (best.name == "" || o.cost < best.cost) {
			best = o
		}
	}
	if best.name == "" || r.ours.cost == 0 {
		return 0, ""
	}
	return best.cost / r.ours.cost, best.name
}

func (r row) verdict() string {
	if r.err != nil {
		return verdictNone
	}
	x, _ := r.ratio()
	return r.goal.verdict(r.ours.cost, x)
}

// runAll runs what the settings select. A bench that fails is a row that says so;
// only a context that ended stops the rest, and a run that has lasted too long leaves out what is left, saying so.
func runAll(ctx context.Context, list []bench, set settings) ([]row, error) {
	var rows []row
	began := time.Now()
	for _, b := range list {
		if !set.selects(b) {
			continue
		}
		if set.limit > 0 && time.Since(began) > set.limit {
			rows = append(rows, failed(b, fmt.Errorf("%w: the run had lasted %v (-limit)", errMissing, set.limit))...)
			continue
		}
		rows = append(rows, runOne(ctx, b, set)...)
		if ctx.Err() != nil {
			return rows, context.Cause(ctx)
		}
	}
	return rows, nil
}

// blank are the rows of a bench before it has run.
func blank(b bench) []row {
	rows := make([]row, len(b.units))
	for i, u := range b.units {
		rows[i] = row{group: b.group, bench: b.name, unit: u.name, goal: u.goal}
	}
	return rows
}

func failed(b bench, err error) []row {
	rows := blank(b)
	for i := range rows {
		rows[i].err = err
	}
	return rows
}

// runOne interleaves the variants of one bench. An opponent that fails is missing from there on; ours fails the bench.
func runOne(ctx context.Context, b bench, set settings) []row {
	rig, err := b.open(ctx, set)
	if err != nil {
		return failed(b, err)
	}
	defer rig.close()
	rows := blank(b)
	best := make([][]result, len(b.units))
	for i := range best {
		best[i] = make([]result, len(rig.variants))
	}
	out := make([]bool, len(rig.variants))
	for round := range set.rounds {
		for i := range rig.variants {
			v := (round + i) % len(rig.variants) // nobody is always first
			if out[v] {
				continue
			}
			variant := rig.variants[v]
			s, err := variant.run(ctx)
			if err != nil && (v == 0 || ctx.Err() != nil) {
				return failed(b, fmt.Errorf("%s: %w", variant.name, err))
			}
			if err != nil {
				out[v] = true
				rig.missing = append(rig.missing, fmt.Sprintf("%s: %v", variant.name, err))
				continue
			}
			fmt.Fprintf(set.talk, "%s, round %d of %d, %s: %.4g (%s)\n", b.name, round+1, set.rounds, variant.name, s.cost, s.note)
			for i, cost := range s.cost {
				if best[i][v].name == "" || cost < best[i][v].cost {
					best[i][v] = result{variant.name, variant.aside, cost, s.note}
				}
			}
		}
	}
	for i := range rows {
		rows[i].ours, rows[i].missing = best[i][0], rig.missing
		for v, r := range best[i][1:] {
			if !out[v+1] && r.name != "" { // who does not count what ours counts has no cost there
				rows[i].others = append(rows[i].others, r)
			}
		}
	}
	return rows
}
