package main

import (
	"context"
	"errors"
	"fmt"
)

// A bench is one comparison: the same work, done by ours and by others.
type bench struct {
	name  string
	units []string // what each cost of a sample is; one row of the report each
	must  []string // the target ratio of each, as PERFORMANCE has it; "" for none
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
	bench, unit, must string
	ours              result
	others            []result
	missing           []string
	err               error
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

// all is the list of benches, in the order in which they run.
func all() []bench {
	return []bench{channelDataUp, channelDataDown, channelDataManyUp, channelDataManyDown, channelDataBurstUp, channelDataBurstDown, tcpRelay, muxBulk, muxSmall, muxPing, fileCopy}
}

// runAll runs what the settings select. A bench that fails is a row that says so;
// only a context that ended stops the rest.
func runAll(ctx context.Context, list []bench, set settings) ([]row, error) {
	var rows []row
	for _, b := range list {
		if !set.only.MatchString(b.name) {
			continue
		}
		rows = append(rows, runOne(ctx, b, set)...)
		if ctx.Err() != nil {
			return rows, context.Cause(ctx)
		}
	}
	return rows, nil
}

// runOne interleaves the variants of one bench.
func runOne(ctx context.Context, b bench, set settings) []row {
	rows := make([]row, len(b.units))
	for i := range rows {
		rows[i] = row{bench: b.name, unit: b.units[i], must: b.must[i]}
	}
	fail := func(err error) []row {
		for i := range rows {
			rows[i].err = err
		}
		return rows
	}
	rig, err := b.open(ctx, set)
	if err != nil {
		return fail(err)
	}
	defer rig.close()
	best := make([][]result, len(b.units))
	for i := range best {
		best[i] = make([]result, len(rig.variants))
	}
	for round := range set.rounds {
		for i := range rig.variants {
			v := (round + i) % len(rig.variants) // nobody is always first
			variant := rig.variants[v]
			s, err := variant.run(ctx)
			if err != nil {
				return fail(fmt.Errorf("%s: %w", variant.name, err))
			}
			fmt.Fprintf(set.talk, "%s, round %d of %d, %s: %.4g (%s)\n", b.name, round+1, set.rounds, variant.name, s.cost, s.note)
			for i, cost := range s.cost {
				if round == 0 || cost < best[i][v].cost {
					best[i][v] = result{variant.name, variant.aside, cost, s.note}
				}
			}
		}
	}
	for i := range rows {
		rows[i].ours, rows[i].others, rows[i].missing = best[i][0], best[i][1:], rig.missing
	}
	return rows
}
