package conformance

import (
	"fmt"
	"io"
	"strings"
)

// Status is how a check ended.
type Status string

// The statuses. Unseen is what no client can see: it takes a look into the server, or is a matter of clients.
const (
	Pass   Status = "pass"
	Fail   Status = "fail"
	Skip   Status = "skip"
	Unseen Status = "unseen"
)

// Result is how one behaviour was found.
type Result struct {
	Number int    `json:"number"`
	Ref    string `json:"ref"`
	Must   string `json:"must"`
	Status Status `json:"status"`
	// Detail says where a failure was seen, what was expected and what came; or why it was skipped; or, of a pass, what a
	// choice was.
	Detail string `json:"detail,omitempty"`
	Millis int64  `json:"millis"`
}

// add takes in how the check ended at one address and transport. One failure is a failure, one pass outweighs skips.
func (r *Result) add(status Status, where, detail string) {
	weight := map[Status]int{"": 0, Skip: 1, Unseen: 1, Pass: 2, Fail: 3}
	switch {
	case weight[status] > weight[r.Status]:
		r.Status, r.Detail = status, ""
	case weight[status] < weight[r.Status]:
		return
	}
	if detail == "" {
		return
	}
	if status == Fail {
		detail = where + ": " + detail
	}
	switch {
	case r.Detail == "":
		r.Detail = detail
	case !strings.Contains(r.Detail, detail):
		r.Detail += "; " + detail
	}
}

// Report is what a run found, by number.
type Report struct {
	Servers []string `json:"servers"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	Unseen  int      `json:"unseen"`
	Results []Result `json:"results"`
}

func newReport(config Config, results []Result) Report {
	r := Report{Results: results, Servers: []string{}}
	for _, s := range config.Servers {
		r.Servers = append(r.Servers, s.String())
	}
	for _, one := range results {
		switch one.Status {
		case Pass:
			r.Passed++
		case Fail:
			r.Failed++
		case Unseen:
			r.Unseen++
		default:
			r.Skipped++
		}
	}
	return r
}

// Numbers returns the behaviours with a status.
func (r Report) Numbers(s Status) []int {
	var numbers []int
	for _, one := range r.Results {
		if one.Status == s {
			numbers = append(numbers, one.Number)
		}
	}
	return numbers
}

// WriteText writes a table and the score.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, one := range r.Results {
		fmt.Fprintf(&b, "%4d %-6s %s (%s)\n", one.Number, one.Status, one.Must, one.Ref)
		if one.Detail != "" {
			fmt.Fprintf(&b, "           %s\n", one.Detail)
		}
	}
	fmt.Fprintf(&b, "%s: %d of %d pass, %d fail, %d skipped, %d cannot be seen from outside\n",
		strings.Join(r.Servers, " "), r.Passed, r.Passed+r.Failed, r.Failed, r.Skipped, r.Unseen)
	_, err := io.WriteString(w, b.String())
	return err
}
