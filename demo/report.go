package demo

import (
	"fmt"
	"io"
	"time"

	"traverse.internal/daemon"
)

// Schema names the version of Report.
const Schema = "demo.v1"

// Report is the result of a demo.
type Report struct {
	Schema string  `json:"schema"`
	Pass   bool    `json:"pass"`
	MS     float64 `json:"ms"`
	Stages []Stage `json:"stages"`
}

// Stage is one step: what it did, whether it held, and what it measured.
type Stage struct {
	Name   string       `json:"name"`
	Pass   bool         `json:"pass"`
	MS     float64      `json:"ms"`
	Bytes  int64        `json:"bytes"` // of file bodies that arrived and compared equal
	Path   *daemon.Path `json:"path,omitempty"`
	Detail string       `json:"detail,omitempty"`
	Error  string       `json:"error,omitempty"`
}

// Write prints the stage as a line for people.
func (s Stage) Write(w io.Writer) {
	verdict := "ok  "
	if !s.Pass {
		verdict = "FAIL"
	}
	line := fmt.Sprintf("%s  %-28s %9.1f ms", verdict, s.Name, s.MS)
	if s.Bytes > 0 {
		mib := float64(s.Bytes) / (1 << 20)
		line += fmt.Sprintf("  %4.0f MiB", mib)
		if s.MS > 0 {
			line += fmt.Sprintf(" %6.0f MiB/s", mib/(s.MS/1000))
		}
	}
	if s.Path != nil {
		line += fmt.Sprintf("  %s %s %s", s.Path.Kind, s.Path.Via, s.Path.Reason)
	}
	if s.Detail != "" {
		line += "  " + s.Detail
	}
	fmt.Fprintln(w, line)
	if s.Error != "" {
		fmt.Fprintf(w, "      %s\n", s.Error)
	}
}

// Write prints the last line for people.
func (r Report) Write(w io.Writer) {
	passed := 0
	for _, s := range r.Stages {
		if s.Pass {
			passed++
		}
	}
	took := time.Duration(r.MS * float64(time.Millisecond)).Round(100 * time.Millisecond)
	fmt.Fprintf(w, "%d of %d stages passed in %v\n", passed, len(r.Stages), took)
}
