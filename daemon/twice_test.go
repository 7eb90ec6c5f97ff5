package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"traverse.internal/transfer"
)

// A file that was received already, and is offered again because its sender did not hear of it, is not moved again: the receiver says that it has it.
func TestAlreadyThere(t *testing.T) {
	to := startNode(t, "to", nil, nil)
	from := startNode(t, "from", to, nil)
	join(t, to, from, false)
	source := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(source, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	sent, err := from.Send("to", source)
	if err != nil {
		t.Fatal(err)
	}
	done := func() Transfer {
		t.Helper()
		s, err := from.Await(t.Context(), sent.ID, func(s Transfer) bool { return s.State.Ended() })
		if err != nil || s.State != StateDone {
			t.Fatalf("the transfer is %s, %v, %v", s.State, s.Error, err)
		}
		return s
	}
	done()
	moved := from.counters.Stats().Send.Bytes
	e, err := from.table.find(sent.ID)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the first run is over", func() bool { return !from.table.running(e) })
	src, err := transfer.NewSource(source)
	if err != nil {
		t.Fatal(err)
	}
	from.table.reopen(e, func(e *entry) { e.shown.State = StateConnecting }) // as if the power had gone before the last word came
	from.startSending(e, src)
	if again := done(); again.Resent != 0 {
		t.Errorf("%d bytes were sent again", again.Resent)
	}
	if now := from.counters.Stats().Send.Bytes; now != moved {
		t.Errorf("%d bytes were moved again", now-moved)
	}
	if files, err := os.ReadDir(to.cfg.Downloads); err != nil || len(files) != 1 {
		t.Errorf("%d files were received, %v; want one", len(files), err)
	}
}
