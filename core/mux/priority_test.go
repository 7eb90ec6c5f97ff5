package mux_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestPriorities floods four channels, short writes and long ones, over a link that delivers step by step. Bulk takes
// less than normal and starves for nobody; an interactive message waits for a batch, not for a turn of every channel.
func TestPriorities(t *testing.T) {
	for _, size := range []int{1000, 64 << 10} {
		synctest.Test(t, func(t *testing.T) {
			la, lb := wire(16 << 10)
			a, b := sessions(t, la, lb, mux.Config{}, mux.Config{})
			flood := func(p mux.Priority) *mux.Channel {
				f, c := open(t, a, b, p.String())
				f.SetPriority(p)
				go func() {
					for data := make([]byte, size); ; {
						if _, err := f.Write(data); err != nil {
							return
						}
					}
				}()
				go func() { _, _ = io.Copy(io.Discard, c) }()
				return f
			}
			f, c := open(t, a, b, "ping")
			f.SetPriority(mux.Interactive)
			idle(t)
			la.out.record = &bytes.Buffer{}
			floods := map[mux.Priority]*mux.Channel{}
			for _, p := range []mux.Priority{mux.Bulk, mux.Normal} {
				floods[p] = flood(p)
			}
			// Each ping is queued while the link takes nothing: it must be in the write behind the one under way.
			var given []uint64
			for range 20 {
				lb.in.hold(true)
				synctest.Wait()
				given = append(given, a.Stats().BytesOut)
				if _, err := f.Write([]byte("ping")); err != nil {
					t.Fatal(err)
				}
				lb.in.hold(false)
				if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
			}
			lb.in.hold(true)
			synctest.Wait()
			gone, pings := uint64(0), 0
			for wire := la.out.recorded(); ; {
				h, err := framing.ParseHeader(wire)
				if err != nil || len(wire) < framing.HeaderLen+int(h.Length) {
					break // the last one is under way
				}
				wire = wire[framing.HeaderLen+int(h.Length):]
				if h.Channel == f.ID() {
					if gone > given[pings]+64<<10 {
						t.Errorf("writes of %d: %d bytes went before ping %d", size, gone-given[pings], pings)
					}
					pings++
				}
				if h.Channel.IsData() {
					gone += uint64(h.Length)
				}
			}
			if pings != len(given) {
				t.Errorf("writes of %d: %d pings on the wire, want %d", size, pings, len(given))
			}
			la.out.stopRecording()
			lb.in.hold(false)
			for b.Stats().BytesIn < 16<<20 {
				exchange(t, f, c)
			}
			sent := map[string]uint64{}
			for _, info := range a.Channels() {
				sent[info.Name] = info.BytesOut
			}
			t.Logf("writes of %d: normal %d bytes, bulk %d", size, sent["normal"], sent["bulk"])
			if sent["bulk"] == 0 || sent["bulk"] > sent["normal"] {
				t.Errorf("writes of %d: bulk sent %d bytes beside normal's %d, want less, and some", size, sent["bulk"], sent["normal"])
			}
			// An interactive flood, which nobody should make, leaves them something too.
			flood(mux.Interactive)
			before := floods[mux.Bulk].Session().Stats().BytesOut
			for b.Stats().BytesIn < before+8<<20 {
				exchange(t, f, c)
			}
			for _, info := range a.Channels() {
				if n := info.BytesOut - sent[info.Name]; info.Name != "ping" && n < 256<<10 {
					t.Errorf("writes of %d: %s sent %d bytes beside an interactive flood", size, info.Name, n)
				}
			}
			a.Close()
		})
	}
}

// exchange passes a message and so lets the others run meanwhile.
func exchange(t *testing.T, from, to *mux.Channel) {
	t.Helper()
	if _, err := from.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
