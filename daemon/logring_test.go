package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// The newest lines are kept, in order, however many there were; nothing below info, and nothing long.
func TestLogRing(t *testing.T) {
	var r logRing
	log := r.tee(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.Debug("unheard")
	if got := r.list(); len(got.Lines) != 0 || got.Lines == nil {
		t.Errorf("kept %q", got.Lines)
	}
	log.Info("long", "text", strings.Repeat("ü", maxKeptLine))
	for i := range keptLines + 3 {
		log.Info(fmt.Sprintf("line %d.", i))
	}
	got := r.list()
	if len(got.Lines) != keptLines || got.Dropped != 4 || !strings.Contains(got.Lines[0], "line 3.") || !strings.Contains(got.Lines[keptLines-1], fmt.Sprintf("line %d.", keptLines+2)) {
		t.Errorf("%d lines, %d dropped, from %q to %q", len(got.Lines), got.Dropped, got.Lines[0], got.Lines[len(got.Lines)-1])
	}
	r = logRing{}
	log.Info("long", "text", strings.Repeat("ü", maxKeptLine))
	if line := r.list().Lines[0]; len(line) > maxKeptLine {
		t.Errorf("a line of %d bytes", len(line))
	}
}
