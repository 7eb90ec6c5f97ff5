package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// progress shows a transfer: one line that is rewritten on a terminal, else a line a second while there is something new.
type progress struct {
	w     io.Writer
	every time.Duration // how often to look
	width func() int    // columns of the terminal; nil when it is none
	last  string
}

func (a *app) progress() *progress {
	if a.json {
		return &progress{w: io.Discard, every: 10 * time.Second}
	}
	p := &progress{w: a.stderr, every: time.Second}
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

// line shows the transfer as it is now.
func (p *progress) line(t daemon.Transfer) {
	if p.width == nil {
		if text := progressText(t, ""); text != p.last {
			fmt.Fprintln(p.w, text)
			p.last = text
		}
		return
	}
	// One column stays free: a line that fills the last one wraps on some terminals.
	p.last = cut(progressText(t, bar(t)), p.width()-1)
	fmt.Fprintf(p.w, "\r\033[K%s", p.last)
}

// end leaves the cursor below what was shown.
func (p *progress) end() {
	if p.width != nil && p.last != "" {
		fmt.Fprintln(p.w)
	}
}

// progressText is "phone  sending  direct host/tcp  [bar]  47%  121.0 MiB/256.0 MiB  412.0 MiB/s  eta 0:03"; what is not known is left out.
func progressText(t daemon.Transfer, bar string) string {
	parts := []string{t.Peer.Name, string(t.State)}
	if t.Path != nil {
		parts = append(parts, t.Path.Kind+" "+t.Path.Via)
	}
	if bar != "" {
		parts = append(parts, bar)
	}
	parts = append(parts, fmt.Sprintf("%d%%", percent(t)), cli.Size(t.Bytes)+"/"+cli.Size(t.Size-t.UnwantedBytes))
	if t.RateBPS > 0 {
		parts = append(parts, cli.Size(t.RateBPS)+"/s")
		if left := t.Size - t.UnwantedBytes - t.Bytes; left > 0 {
			s := left / t.RateBPS
			parts = append(parts, fmt.Sprintf("eta %d:%02d", s/60, s%60))
		}
	}
	return strings.Join(parts, "  ")
}

func percent(t daemon.Transfer) int {
	size := t.Size - t.UnwantedBytes
	if size <= 0 {
		return 100
	}
	return int(100 * float64(t.Bytes) / float64(size))
}

func bar(t daemon.Transfer) string {
	const cells = 20
	full := percent(t) * cells / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
}

// cut shortens a line to so many characters.
func cut(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:max(limit, 0)])
	}
	return s
}
