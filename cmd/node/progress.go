package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// progress shows transfers, a line a device: lines that are rewritten on a terminal, else at most one a second and device, while there is something new.
type progress struct {
	w     io.Writer
	every time.Duration // how often to look
	width func() int    // columns of the terminal; nil when it is none
	paint io.Writer     // a Painted one: phases have colours
	json  *json.Encoder // each step as an object, instead of lines
	last  []string
}

func (a *app) progress() *progress {
	switch {
	case a.lines:
		return &progress{json: json.NewEncoder(a.stdout), every: time.Second}
	case a.json, a.quiet:
		return &progress{w: io.Discard, every: 10 * time.Second}
	}
	p := &progress{w: a.stderr, every: time.Second, paint: a.painted(a.stderr)}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.every = 200 * time.Millisecond
		p.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
				return w
			}
			return 80
		}
	}
	return p
}

// show prints the transfers as they are now.
func (p *progress) show(list ...daemon.Transfer) {
	if p.json != nil {
		p.steps(list)
		return
	}
	if p.width == nil {
		lines := progressLines(list, false, 0)
		for i, line := range lines {
			if i >= len(p.last) || p.last[i] != line {
				fmt.Fprintln(p.w, line)
			}
		}
		p.last = lines
		return
	}
	// One column stays free: a line that fills the last one wraps on some terminals.
	lines := progressLines(list, true, p.width()-1)
	if n := len(p.last); n > 1 {
		fmt.Fprintf(p.w, "\033[%dA", n-1)
	}
	shown := make([]string, len(lines))
	for i, line := range lines {
		shown[i] = p.painted(line)
	}
	fmt.Fprintf(p.w, "\r\033[K%s", strings.Join(shown, "\n\r\033[K"))
	p.last = lines
}

// steps prints the transfers that have moved on, as objects. What they came to in the end is the command's to print.
func (p *progress) steps(list []daemon.Transfer) {
	now := make([]string, len(list))
	for i, t := range list {
		now[i] = fmt.Sprint(t.ID, t.State, t.Bytes, t.RetryAt)
		if !t.State.Ended() && (i >= len(p.last) || p.last[i] != now[i]) {
			_ = p.json.Encode(t) // a stdout that is gone is told at the end
		}
	}
	p.last = now
}

// painted has the phase at a line's end in its colour.
func (p *progress) painted(line string) string {
	i := strings.LastIndexByte(line, ' ') + 1
	if _, on := p.paint.(cli.Painted); !on {
		return line
	}
	return line[:i] + paintState(p.paint, line[i:])
}

// end leaves the cursor below what was shown.
func (p *progress) end() {
	if p.width != nil && len(p.last) > 0 {
		fmt.Fprintln(p.w)
	}
}

// progressLines has a line for each device that the transfers go to, or come from, and where there are several one for all of them:
//
//	bob:desk   direct host/tcp  [#########...........]  47%  121/256 MiB  412 MiB/s  eta 0:00  sending
//	bob:phone                   [....................]   0%    0/256 MiB                       declined
//	total                       [#########...........]  47%  121/256 MiB  412 MiB/s  eta 0:00  0 of 1 done
//
// What is not known is left out; columns are aligned where there are several lines. A limit of 0 columns is none.
func progressLines(list []daemon.Transfer, bars bool, limit int) []string {
	var rows []progressRow
	for _, t := range list {
		if len(t.Devices) == 0 {
			rows = append(rows, progressRow{t.Peer.Name, t.Path, t.State, t.Bytes, t.Size - t.UnwantedBytes, t.RateBPS, t.Error})
		}
		for _, d := range t.Devices {
			rows = append(rows, progressRow{d.Peer.Name, d.Path, d.State, d.Bytes, t.Size - d.Unwanted, d.RateBPS, d.Error})
		}
	}
	cells := make([][]string, 0, len(rows)+1)
	sum, done, wanted := progressRow{}, 0, 0
	for _, r := range rows {
		cells = append(cells, r.cells(bars, phase(r.state, r.err)))
		switch r.state {
		case daemon.StateDeclined, daemon.StateCancelled, daemon.StateFailed:
			continue // they get nothing more
		case daemon.StateDone:
			done++
		}
		wanted++
		sum.bytes, sum.size, sum.rate = sum.bytes+r.bytes, sum.size+r.size, sum.rate+r.rate
	}
	if len(rows) > 1 {
		sum.name = "total"
		cells = append(cells, sum.cells(bars, fmt.Sprintf("%d of %d done", done, wanted)))
	}
	return align(cells, limit)
}

// progressRow is one device's part.
type progressRow struct {
	name        string
	path        *daemon.Path
	state       daemon.State
	bytes, size int64
	rate        int64
	err         *cli.Error
}

// phase is the state, with what a transfer that is queued waits for.
func phase(state daemon.State, err *cli.Error) string {
	if state == daemon.StateQueued && err != nil {
		return string(state) + ": " + err.Message
	}
	return string(state)
}

// cells are name, route, bar, part, bytes, rate, time to go, and phase.
func (r progressRow) cells(bars bool, phase string) []string {
	c := make([]string, 8)
	c[0], c[3], c[4], c[7] = r.name, fmt.Sprintf("%d%%", percent(r.bytes, r.size)), sizes(r.bytes, r.size), phase
	if r.path != nil {
		c[1] = r.path.Kind + " " + r.path.Via
	}
	if bars {
		c[2] = bar(r.bytes, r.size)
	}
	if r.rate > 0 {
		c[5] = short(r.rate) + "/s"
		if left := r.size - r.bytes; left > 0 {
			s := (left + r.rate - 1) / r.rate
			c[6] = fmt.Sprintf("eta %d:%02d", s/60, s%60)
		}
	}
	return c
}

// align joins cells to lines: numbers to the right, words to the left, columns that all leave empty not at all.
func align(cells [][]string, limit int) []string {
	right := []bool{3: true, 4: true, 5: true, 6: true, 7: false}
	width := make([]int, len(right))
	for _, row := range cells {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var lines []string
	for _, row := range cells {
		var b strings.Builder
		for i, c := range row {
			if width[i] == 0 {
				continue
			}
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if right[i] {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
		}
		line := strings.TrimRight(b.String(), " ")
		if limit > 0 {
			line = cut(line, limit)
		}
		lines = append(lines, line)
	}
	return lines
}

// sizes is "121/256 MiB", both in the unit of the second.
func sizes(done, all int64) string {
	unit, name := unitOf(all)
	return amount(done, unit) + "/" + amount(all, unit) + " " + name
}

// short is "412 MiB": three digits say enough of what changes.
func short(n int64) string {
	unit, name := unitOf(n)
	return amount(n, unit) + " " + name
}

func unitOf(n int64) (unit int64, name string) {
	unit, name = 1, "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n < unit<<10 {
			break
		}
		unit, name = unit<<10, next
	}
	return unit, name
}

// amount is n in units, with a decimal where that is one of few digits.
func amount(n, unit int64) string {
	if unit > 1 && n > 0 && n < 10*unit {
		return fmt.Sprintf("%.1f", float64(n)/float64(unit))
	}
	return fmt.Sprintf("%.0f", float64(n)/float64(unit))
}

func percent(bytes, size int64) int {
	if size <= 0 {
		return 100
	}
	return int(100 * float64(bytes) / float64(size))
}

func bar(bytes, size int64) string {
	const cells = 20
	full := min(percent(bytes, size), 100) * cells / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
}

// cut shortens a line to so many characters.
func cut(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:max(limit, 0)])
	}
	return s
}
