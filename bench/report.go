package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// tell prints the rows, and writes the files that the settings name.
func tell(stdout io.Writer, set settings, rows []row, took time.Duration) error {
	print := printTable
	if set.json {
		print = printJSON
	}
	if err := print(stdout, set, rows); err != nil {
		return err
	}
	if set.out != "" {
		if err := writeFiles(set, rows); err != nil {
			return err
		}
	}
	if set.doc != "" {
		return replaceTable(set.doc, docTable(set, rows, took))
	}
	return nil
}

// printTable prints the rows for people. A ratio is the opponent's cost over ours:
// above 1, ours is cheaper.
func printTable(out io.Writer, set settings, rows []row) error {
	fmt.Fprintf(out, "Best of %d interleaved rounds, %d CPUs. A ratio above 1: ours costs less.\n\n", set.rounds, runtime.NumCPU())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "group\tbenchmark\tcost\tours\topponents\tratio\tmust\tstretch\t")
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(w, "%s\t%s\t%s\tNOT MEASURED\t\t\t%s\t%s\t\n", r.group, r.bench, r.unit, r.goal.text(r.goal.must), r.goal.text(r.goal.stretch))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.4g\t%s\t%s\t%s\t%s\t%s\n", r.group, r.bench, r.unit, r.ours.cost, r.opponents(), r.ratioText(),
			r.goal.text(r.goal.must), r.goal.text(r.goal.stretch), r.verdict())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, l := range loud(rows) {
		fmt.Fprintf(out, "\nNOT COMPARED: %s", l)
	}
	_, err := fmt.Fprintf(out, "\n%s\n", summary(rows))
	return err
}

func (r row) opponents() string {
	var others []string
	for _, o := range r.others {
		text := fmt.Sprintf("%s %.4g", o.name, o.cost)
		if o.aside {
			text = "(" + text + ")"
		}
		others = append(others, text)
	}
	for range r.missing {
		others = append(others, "MISSING")
	}
	return strings.Join(others, ", ")
}

func (r row) ratioText() string {
	if x, _ := r.ratio(); x > 0 {
		return fmt.Sprintf("%.2fx", x)
	}
	return "-"
}

// loud is what was not compared, each once.
func loud(rows []row) (list []string) {
	seen := map[string]bool{}
	add := func(l string) {
		if !seen[l] {
			seen[l] = true
			list = append(list, l)
		}
	}
	for _, r := range rows {
		if r.err != nil {
			add(fmt.Sprintf("%s: %v", r.bench, r.err))
		}
		for _, m := range r.missing {
			add(r.bench + ": " + m)
		}
	}
	return list
}

// summary counts the verdicts.
func summary(rows []row) string {
	count := map[string]int{}
	for _, r := range rows {
		count[r.verdict()]++
	}
	return fmt.Sprintf("%d of %d targets met, %d of them with the stretch; %d missed.",
		count[verdictMust]+count[verdictStretch], count[verdictMust]+count[verdictStretch]+count[verdictMissed], count[verdictStretch], count[verdictMissed])
}

// The JSON form, schema bench.v2.
type jsonReport struct {
	Schema string    `json:"schema"`
	Rounds int       `json:"rounds"`
	CPUs   int       `json:"cpus"`
	Kernel string    `json:"kernel"`
	Lab    bool      `json:"lab"` // namespaces, not loopback
	Rows   []jsonRow `json:"rows"`
}

type jsonRow struct {
	Group     string       `json:"group"`
	Benchmark string       `json:"benchmark"`
	Unit      string       `json:"unit"`
	Absolute  bool         `json:"absolute,omitempty"` // must and stretch are costs, not ratios
	Must      float64      `json:"must,omitempty"`
	Stretch   float64      `json:"stretch,omitempty"`
	Verdict   string       `json:"verdict"` // stretch, met, MISSED, or -
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
	report := jsonReport{Schema: "bench.v2", Rounds: set.rounds, CPUs: runtime.NumCPU(), Kernel: kernel(), Lab: set.pool != nil && set.pool.lab, Rows: []jsonRow{}}
	for _, r := range rows {
		j := jsonRow{
			Group: r.group, Benchmark: r.bench, Unit: r.unit, Absolute: r.goal.absolute, Must: r.goal.must, Stretch: r.goal.stretch,
			Verdict: r.verdict(), Missing: r.missing,
		}
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

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// writeFiles writes the JSON and the plots.
func writeFiles(set settings, rows []row) error {
	if err := os.MkdirAll(set.out, 0o755); err != nil {
		return err
	}
	var object bytes.Buffer
	if err := printJSON(&object, set, rows); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(set.out, "report.json"), object.Bytes(), 0o644); err != nil {
		return err
	}
	for _, group := range groups() {
		if picture := plot(group, rows); picture != nil {
			if err := os.WriteFile(filepath.Join(set.out, group+".svg"), picture, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// The table of the page is between these.
const (
	tableBegin = "<!-- run -->\n"
	tableEnd   = "<!-- /run -->"
)

// docTable is the run as the page has it.
func docTable(set settings, rows []row, took time.Duration) string {
	var b strings.Builder
	where := "over loopback"
	if set.pool != nil && set.pool.lab {
		where = "in network namespaces"
	}
	fmt.Fprintf(&b, "%d rounds of %v, %v in all, %d CPUs, Linux %s, %s. %s\n", set.rounds, set.load, took.Round(time.Second), runtime.NumCPU(), kernel(), where, summary(rows))
	group := ""
	for _, r := range rows {
		if r.group != group {
			group = r.group
			fmt.Fprintf(&b, "\n### %s\n| | cost | ours | opponents | ratio | must | stretch | |\n|---|---|---|---|---|---|---|---|\n", group)
		}
		if r.err != nil {
			fmt.Fprintf(&b, "| %s | %s | not measured | | | %s | %s | |\n", r.bench, r.unit, r.goal.text(r.goal.must), r.goal.text(r.goal.stretch))
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %.4g | %s | %s | %s | %s | %s |\n", r.bench, r.unit, r.ours.cost, r.opponents(), r.ratioText(),
			r.goal.text(r.goal.must), r.goal.text(r.goal.stretch), r.verdict())
	}
	if list := loud(rows); len(list) > 0 {
		b.WriteString("\nNot compared:\n")
		for _, l := range list {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(l, "\n", " "))
		}
	}
	return b.String()
}

func replaceTable(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no %s … %s", path, strings.TrimSpace(tableBegin), tableEnd)
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, []byte(tableBegin), []byte(table), []byte(tableEnd), after}, nil), 0o644)
}
