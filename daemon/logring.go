package daemon

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"traverse.internal/internal/cli"
)

// Limits of the log that a node keeps in memory for `doctor --bundle`: 256 KiB at most.
const (
	keptLines   = 256
	maxKeptLine = 1024 // bytes; what is longer is cut
)

// LogLines are the last lines that the node has logged, from level info on.
type LogLines struct {
	cli.Envelope
	Lines   []string `json:"lines"`   // oldest first
	Dropped uint64   `json:"dropped"` // older ones
}

// logRing keeps the last lines. Its zero value is ready; it is safe for concurrent use.
type logRing struct {
	mu    sync.Mutex // guards the fields below
	lines []string   // once there are keptLines of them, the oldest is at n % keptLines
	n     uint64     // lines there were
}

// tee has the ring hear what the log does.
func (r *logRing) tee(log *slog.Logger) *slog.Logger {
	return slog.New(slog.NewMultiHandler(log.Handler(), slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelInfo})))
}

// Write takes one line, as slog's handlers write them. It never fails.
func (r *logRing) Write(line []byte) (int, error) {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(line[:min(len(line), maxKeptLine)]), "\n"), "?")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < keptLines {
		r.lines = append(r.lines, text)
	} else {
		r.lines[r.n%keptLines] = text
	}
	r.n++
	return len(line), nil
}

func (r *logRing) list() LogLines {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := LogLines{Envelope: envelope("log"), Lines: []string{}, Dropped: r.n - uint64(len(r.lines))}
	at := 0
	if len(r.lines) == keptLines {
		at = int(r.n % keptLines)
	}
	out.Lines = append(out.Lines, slices.Concat(r.lines[at:], r.lines[:at])...)
	return out
}
