package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be a child of itself, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleArg {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func quick() settings {
	return settings{rounds: 1, load: 50 * time.Millisecond, only: regexp.MustCompile(""), file: 1 << 20, talk: io.Discard, pool: &pool{}}
}

// fake is a bench whose variants cost what the lists say, round by round, and note
// their order.
func fake(order *[]string, costs map[string][]float64, names ...string) bench {
	return bench{
		name: "fake", units: []unit{{"CPU s/GB", ratio(2, 5)}},
		open: func(context.Context, settings) (*rig, error) {
			g := &rig{close: func() { *order = append(*order, "closed") }}
			for _, name := range names {
				round := 0
				g.variants = append(g.variants, variant{name, name == "aside", func(context.Context) (sample, error) {
					*order = append(*order, name)
					round++
					return sample{cost: []float64{costs[name][round-1]}}, nil
				}})
			}
			return g, nil
		},
	}
}

// TestRounds: variants take turns, the minimum of each counts, and the ratio is
// that of the best opponent, whatever stands aside.
func TestRounds(t *testing.T) {
	var order []string
	set := quick()
	set.rounds = 3
	b := fake(&order, map[string][]float64{"ours": {2, 1, 3}, "slow": {9, 8, 7}, "fast": {6, 5, 4}, "aside": {1, 1, 1}}, "ours", "slow", "fast", "aside")
	rows, err := runAll(t.Context(), []bench{b}, set)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, " "), "ours slow fast aside slow fast aside ours fast aside ours slow closed"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	ratio, against := rows[0].ratio()
	if rows[0].ours.cost != 1 || ratio != 4 || against != "fast" {
		t.Errorf("ours %v, ratio %v against %s", rows[0].ours, ratio, against)
	}
	var table, object bytes.Buffer
	if err := errors.Join(printTable(&table, set, rows), printJSON(&object, set, rows)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "4.00x") || !strings.Contains(table.String(), "2x") || !strings.Contains(table.String(), "(aside 1)") {
		t.Errorf("table:\n%s", &table)
	}
	var report jsonReport
	if err := json.Unmarshal(object.Bytes(), &report); err != nil || report.Schema != "bench.v2" || report.Rows[0].Ratio != 4 || report.Rows[0].Verdict != verdictMust {
		t.Errorf("%v: %s", err, &object)
	}
}

// TestFailure of one bench is a row that says so; the others run.
func TestFailure(t *testing.T) {
	var order []string
	broken := bench{name: "broken", units: []unit{{name: "a"}, {name: "b"}}, open: func(context.Context, settings) (*rig, error) {
		return nil, errMissing
	}}
	alone := fake(&order, map[string][]float64{"ours": {1}}, "ours")
	rows, err := runAll(t.Context(), []bench{broken, alone}, quick())
	if err != nil || len(rows) != 3 || !errors.Is(rows[0].err, errMissing) || !errors.Is(rows[1].err, errMissing) || rows[2].err != nil {
		t.Fatalf("%+v, %v", rows, err)
	}
	rows[2].missing = []string{"opponent is not installed"}
	var table bytes.Buffer
	if err := printTable(&table, quick(), rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOT MEASURED", "MISSING", "NOT COMPARED: broken", "opponent is not installed"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
}

func TestSelect(t *testing.T) {
	var order []string
	set := quick()
	set.only = regexp.MustCompile("^nothing$")
	rows, err := runAll(t.Context(), []bench{fake(&order, nil, "ours")}, set)
	if err != nil || len(rows) != 0 || len(order) != 0 {
		t.Errorf("%v, %v, %v", rows, order, err)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"},
		{"-load", "-1s"},
		{"-load", "1h"},
		{"-file", "1"},
		{"-run", "("},
		{"-only", "nonsense"},
		{"-nonsense"},
		{"nonsense"},
	} {
		var out, talk bytes.Buffer
		if code := run(t.Context(), args, &out, &talk); code != 2 || talk.Len() == 0 {
			t.Errorf("%q: exit code %d, %q", args, code, &talk)
		}
	}
}

// TestPairs: the benches whose both ends are ours run, briefly. What they measure
// is not looked at.
func TestPairs(t *testing.T) {
	for _, b := range slices.Concat(muxBenches()[:3], fileBenches()[:1], fileBenches()[3:5]) {
		t.Run(b.name, func(t *testing.T) {
			for _, r := range runOne(t.Context(), b, quick()) {
				if r.err != nil {
					t.Error(r.err)
				}
				if r.ours.name == "" {
					t.Error("no cost")
				}
				for _, m := range r.missing {
					t.Log("SKIPPED: ", m)
				}
			}
		})
	}
}

func TestBadRoles(t *testing.T) {
	for _, args := range [][]string{
		{roleArg},
		{roleArg, "mux"},
		{roleArg, "nonsense", "send"},
		{roleArg, "mux", "nonsense"},
		{roleArg, "mux", "send"},
		{roleArg, "transfer", "receive"},
		{roleArg, "transfer", "send", "127.0.0.1:1", "/nonexistent"},
	} {
		if code := run(t.Context(), args, io.Discard, io.Discard); code == 0 {
			t.Errorf("%q succeeded", args)
		}
	}
}

// TestUnpinned: what is started for itself may run on every core, though the bench keeps itself to one; and the bench stays there.
func TestUnpinned(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("MISSING: a second core")
	}
	var inside, after unix.CPUSet
	err := pinned(loadCPU, func() error { // as after pinSelf
		err := unpinned(func() error { return unix.SchedGetaffinity(0, &inside) })
		return errors.Join(err, unix.SchedGetaffinity(0, &after))
	})
	if err != nil {
		t.Fatal(err)
	}
	if inside != everyCore || inside.Count() < 2 {
		t.Errorf("%d cores, want %d", inside.Count(), everyCore.Count())
	}
	if after.Count() != 1 {
		t.Errorf("%d cores afterwards, want one", after.Count())
	}
}
