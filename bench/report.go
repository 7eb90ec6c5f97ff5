package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
)

// printTable prints the rows for people. A ratio is the opponent's cost over ours:
// above 1, ours is cheaper.
func printTable(out io.Writer, set settings, rows []row) error {
	fmt.Fprintf(out, "CPU per unit of work, best of %d interleaved rounds, %d CPUs. A ratio above 1: ours costs less.\n\n", set.rounds, runtime.NumCPU())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "benchmark\tcost\tours\topponents\tratio\ttarget")
	var loud []string
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(w, "%s\t%s\tNOT MEASURED\t\t\t%s\n", r.bench, r.unit, r.must)
			loud = append(loud, fmt.Sprintf("%s: %v", r.bench, r.err))
			continue
		}
		var others []string
		for _, o := range r.others {
			text := fmt.Sprintf("%s %.4g", o.name, o.cost)
			if o.aside {
				text = "(" + text + ")"
			}
			others = append(others, text)
		}
		for _, m := range r.missing {
			others = append(others, "MISSING")
			loud = append(loud, r.bench+": "+m)
		}
		ratio := "-"
		if x, _ := r.ratio(); x > 0 {
			ratio = fmt.Sprintf("%.2fx", x)
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%s\t%s\t%s\n", r.bench, r.unit, r.ours.cost, strings.Join(others, ", "), ratio, r.must)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, l := range loud {
		if !seen[l] {
			fmt.Fprintf(out, "\nNOT COMPARED: %s", l)
			seen[l] = true
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}

// The JSON form, schema bench.v1.
type jsonReport struct {
	Schema string    `json:"schema"`
	Rounds int       `json:"rounds"`
	CPUs   int       `json:"cpus"`
	Rows   []jsonRow `json:"rows"`
}

type jsonRow struct {
	Benchmark string       `json:"benchmark"`
	Unit      string       `json:"unit"`
	Target    string       `json:"target,omitempty"`
	Ours      *jsonResult  `json:"ours,omitempty"`
	Opponents []jsonResult `json:"opponents,omitempty"`
	Missing   []string     `json:"missing,omitempty"`
	Ratio     float64      `json:"ratio,omitempty"` // best opponent's cost over ours
	Against   string       `json:"against,omitempty"`
	Error     string       `json:"error,omitempty"`
}

type jsonResult struct {
	Name  string  `json:"name"`
	Aside bool    `json:"aside,omitempty"` // shown, not compared with
	Cost  float64 `json:"cost"`
	Note  string  `json:"note,omitempty"`
}

func printJSON(out io.Writer, set settings, rows []row) error {
	report := jsonReport{Schema: "bench.v1", Rounds: set.rounds, CPUs: runtime.NumCPU(), Rows: []jsonRow{}}
	for _, r := range rows {
		j := jsonRow{Benchmark: r.bench, Unit: r.unit, Target: r.must, Missing: r.missing}
		if r.err != nil {
			j.Error = r.err.Error()
		} else {
			j.Ours = &jsonResult{r.ours.name, false, r.ours.cost, r.ours.note}
			for _, o := range r.others {
				j.Opponents = append(j.Opponents, jsonResult{o.name, o.aside, o.cost, o.note})
			}
			j.Ratio, j.Against = r.ratio()
		}
		report.Rows = append(report.Rows, j)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}
