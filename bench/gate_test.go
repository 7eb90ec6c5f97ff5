package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// A row below its floor is measured once more, with more rounds: what was a neighbour's doing passes, what stays fails.
func TestGateLooksAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		ours  []float64 // the target is twice as good as the other's 2; 0.75 of it is the floor
		want  int
		order string
	}{
		{"good at once", []float64{1}, 0, "ours other closed"},
		{"below the target, above the floor", []float64{1.3}, 0, "ours other closed"},
		{"bad, then good", []float64{2, 2, 1, 2}, 0, "ours other closed ours other other ours ours other closed"},
		{"bad", []float64{2, 2, 2, 2}, 1, "ours other closed ours other other ours ours other closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var order []string
			set := quick()
			turn := 0
			b := bench{name: "b", quick: true, units: []unit{{"CPU s/GB", ratio(2, 5)}}}
			b.open = func(context.Context, settings) (*rig, error) {
				ours := func(context.Context) (sample, error) {
					order, turn = append(order, "ours"), turn+1
					return sample{cost: []float64{c.ours[turn-1]}}, nil
				}
				other := func(context.Context) (sample, error) {
					order = append(order, "other")
					return sample{cost: []float64{2}}, nil
				}
				return &rig{
					variants: []variant{{name: "ours", run: ours}, {name: "other", run: other}},
					close:    func() { order = append(order, "closed") },
				}, nil
			}
			rows, err := runAll(t.Context(), []bench{b}, set)
			if err == nil {
				rows, err = lookAgain(t.Context(), []bench{b}, set, rows)
			}
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if got := gate(&out, rows); got != c.want {
				t.Errorf("exit %d, want %d: %s", got, c.want, out.String())
			}
			if got := strings.Join(order, " "); got != c.order {
				t.Errorf("ran %q, want %q", got, c.order)
			}
		})
	}
}

// Nothing measured is no pass.
func TestGateOfNothing(t *testing.T) {
	var out bytes.Buffer
	if got := gate(&out, []row{{bench: "b", err: errMissing}}); got != 1 {
		t.Errorf("exit %d, want 1: %s", got, out.String())
	}
}

// Counters gate by what they must be, seconds do not, and what is only shown never does.
func TestWhatGates(t *testing.T) {
	opponent := []result{{name: "other", cost: 10}}
	for _, c := range []struct {
		name string
		row  row
		bad  bool
	}{
		{"a ratio below its floor", row{goal: ratio(8, 14), ours: result{cost: 2}, others: opponent}, true},
		{"the same, shown", row{goal: ratio(8, 14).in(shown), ours: result{cost: 2}, others: opponent}, false},
		{"a counter above its must", row{goal: atMost(40, 30).in(counts), ours: result{cost: 41}}, true},
		{"a counter", row{goal: atMost(40, 30).in(counts), ours: result{cost: 40}}, false},
		{"seconds", row{goal: atMost(1, 1), ours: result{cost: 2}}, false},
	} {
		if why := c.row.fault(); (why != "") != c.bad {
			t.Errorf("%s: %q", c.name, why)
		}
	}
}

// An opponent that has no such cost is none in that row.
func TestCostsOfOneAlone(t *testing.T) {
	b := bench{name: "b", units: []unit{{"s", ratio(1, 1)}, {"writes", atMost(1, 1).in(counts)}}}
	b.open = func(context.Context, settings) (*rig, error) {
		cost := func(c ...float64) func(context.Context) (sample, error) {
			return func(context.Context) (sample, error) { return sample{cost: c}, nil }
		}
		return &rig{variants: []variant{{name: "ours", run: cost(1, 1)}, {name: "other", run: cost(2)}}, close: func() {}}, nil
	}
	rows := runOne(t.Context(), b, quick())
	if len(rows[0].others) != 1 || len(rows[1].others) != 0 {
		t.Errorf("%d and %d opponents, want 1 and 0", len(rows[0].others), len(rows[1].others))
	}
}
