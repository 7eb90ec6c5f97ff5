package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/transfer"
	"traverse.internal/transfer/store"
)

// TestClockSetBack: both nodes start anew in the middle of a transfer, and their clocks are a year behind what they wrote down. The transfer goes on where it was, and what
// is sent from then on is not taken for something older that is there already.
func TestClockSetBack(t *testing.T) {
	to := startNode(t, "to", nil, nil)
	from := startNode(t, "from", to, nil)
	join(t, to, from, false)
	source := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	if err := os.WriteFile(source, content, 0o600); err != nil {
		t.Fatal(err)
	}
	future := time.Now().AddDate(1, 0, 0)
	if err := os.Chtimes(source, future, future); err != nil {
		t.Fatal(err)
	}
	sent, err := from.SendWith(SendOptions{Rate: 8 << 20}, "to", source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Await(t.Context(), sent.ID, func(s Transfer) bool { return s.Bytes >= 3<<20 }); err != nil {
		t.Fatal(err)
	}
	to.down()
	from.down()
	for _, n := range []*labNode{to, from} {
		later(t, filepath.Join(n.transfers, "transfers.db"), 365*24*time.Hour)
	}
	to = startHome(t, to.cfg.Home, "to", nil, nil)
	from = startHome(t, from.cfg.Home, "from", to, nil)
	over := func(s Transfer) bool { return s.State.Ended() }
	again, err := from.Await(t.Context(), sent.ID, over)
	if err != nil || again.State != StateDone || again.Resent > transfer.ChunkLen || again.Bytes != int64(len(content)) {
		t.Errorf("the transfer is %s, %v, %d bytes of which %d came twice; %v", again.State, again.Error, again.Bytes, again.Resent, err)
	}
	if got, err := os.ReadFile(filepath.Join(to.cfg.Downloads, "file")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes have come, %v", len(got), err)
	}
	if err := os.WriteFile(source, []byte("newer, by an older clock"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := from.Send("to", source)
	if err == nil {
		next, err = from.Await(t.Context(), next.ID, over)
	}
	if err != nil || next.State != StateDone {
		t.Errorf("the next transfer is %s, %v, %v", next.State, next.Error, err)
	}
	if got, err := os.ReadFile(filepath.Join(to.cfg.Downloads, "file (1)")); err != nil || string(got) != "newer, by an older clock" {
		t.Errorf("of the next one came %q, %v", got, err)
	}
}

// later moves all times that a store has of transfers.
func later(t *testing.T, path string, by time.Duration) {
	t.Helper()
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	records := map[string]record{}
	if err := s.Each(func(id string, raw []byte) error {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		r.Transfer.Created = r.Transfer.Created.Add(by)
		if !r.Kept.Until.IsZero() {
			r.Kept.Until = r.Kept.Until.Add(by)
		}
		records[id] = r
		return nil
	}); err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for id, r := range records {
		raw, err := json.Marshal(r)
		if err == nil {
			err = s.Put(id, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
