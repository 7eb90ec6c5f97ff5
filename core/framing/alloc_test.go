package framing_test

import (
	"testing"

	"traverse.internal/core/framing"
)

// sinks keep results alive, so that the compiler does not do the test's work away.
var (
	sinkHeader framing.Header
	sinkBytes  []byte
)

// TestAllocations pins what the reader and the writer do for every frame, and for the messages that come all the time.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops buffers at random under the race detector: allocations cannot be counted")
	}
	var codec framing.Codec = framing.Native{}
	buf := make([]byte, 0, 256)
	header := framing.AppendHeader(nil, framing.Header{Length: 17, Channel: 0x8001})
	var p framing.Parser
	messages := []framing.Message{
		&framing.Max{Channel: 0x8001, Offset: 1 << 40}, &framing.MaxSession{Offset: 1 << 50},
		&framing.Ack{Count: 1 << 33}, &framing.Beacon{Nonce: 1 << 63, Answer: true},
	}
	check := func(name string, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(200, f); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
	check("ParseHeader", func() { sinkHeader, _ = framing.ParseHeader(header) })
	check("AppendHeader", func() { sinkBytes = framing.AppendHeader(buf, framing.Header{Length: 9, Channel: 3}) })
	check("ParseHeader through the seam", func() { sinkHeader, _, _ = codec.ParseHeader(header) })
	check("AppendMessage of a local", func() { sinkBytes = framing.AppendMessage(buf, &framing.Max{Channel: 3, Offset: 99}) })
	for _, m := range messages {
		body := framing.AppendMessage(nil, m)
		check("append "+m.MessageType().String(), func() { sinkBytes = framing.AppendMessage(buf, m) })
		check("append frame of "+m.MessageType().String(), func() { sinkBytes = codec.AppendControl(buf, m) })
		check("parse "+m.MessageType().String(), func() {
			if _, _, err := codec.ParseControl(&p, framing.SessionChannel, body); err != nil {
				t.Fatal(err)
			}
		})
	}
}
