package framing_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"traverse.internal/core/framing"
)

// TestAppendRefuses: builders panic on what a parser would refuse, since it can only be our own mistake.
func TestAppendRefuses(t *testing.T) {
	hello := framing.Hello{
		Version: 1, MaxBody: framing.MinMaxBody, InitialWindow: framing.MinInitialWindow,
		SessionWindow: framing.MinSessionWindow, MaxChannels: framing.MinMaxChannels,
	}
	with := func(change func(*framing.Hello)) *framing.Hello {
		h := hello
		change(&h)
		return &h
	}
	framing.AppendMessage(nil, &hello) // as it is, it can be sent
	for _, c := range []struct {
		name string
		m    framing.Message
		want string
	}{
		{"HELLO version 0", with(func(h *framing.Hello) { h.Version = 0 }), "framing: HELLO: version 0"},
		{"HELLO small bodies", with(func(h *framing.Hello) { h.MaxBody-- }), "framing: HELLO: largest body under 16380"},
		{"HELLO small window", with(func(h *framing.Hello) { h.InitialWindow-- }), "framing: HELLO: initial window under 256 KiB"},
		{"HELLO small session window", with(func(h *framing.Hello) { h.SessionWindow-- }), "framing: HELLO: session window under 1 MiB"},
		{"HELLO large window", with(func(h *framing.Hello) { h.InitialWindow = framing.MaxOffset + 1 }), "framing: HELLO: window beyond 2^62"},
		{"HELLO few channels", with(func(h *framing.Hello) { h.MaxChannels-- }), "framing: HELLO: fewer than 16 channels"},
		{"HELLO many lists", with(func(h *framing.Hello) { h.AccountLists = make([]framing.AccountVersion, 33) }), "framing: HELLO: more than 32 account lists"},
		{"MAX on control", &framing.Max{Channel: 0, Offset: 1}, "framing: MAX: not a data channel"},
		{"MAX too far", &framing.Max{Channel: 1, Offset: framing.MaxOffset + 1}, "framing: MAX: count beyond 2^62"},
		{"MAX_SESSION too far", &framing.MaxSession{Offset: framing.MaxOffset + 1}, "framing: MAX_SESSION: count beyond 2^62"},
		{"ACK too far", &framing.Ack{Count: framing.MaxOffset + 1}, "framing: ACK: count beyond 2^62"},
		{"RESET of 0xffff", &framing.Reset{Channel: 0xffff}, "framing: RESET: not a data channel"},
		{"RESUME too far", &framing.Resume{Received: framing.MaxOffset + 1}, "framing: RESUME: count beyond 2^62"},
		{"a message of a later version", &framing.Unknown{Type: 99}, "framing: this message cannot be sent"},
		{"no message", nil, "framing: this message cannot be sent"},
		{"request on control", &framing.ChannelRequest{Name: "a"}, "framing: ChannelRequest: not a data channel"},
		{"request without a name", &framing.ChannelRequest{ID: 1}, "framing: channel name is empty"},
		{"request with a long name", &framing.ChannelRequest{ID: 1, Name: strings.Repeat("n", 1025)}, "framing: channel name is longer than 1024 bytes"},
		{"request with bytes for a name", &framing.ChannelRequest{ID: 1, Name: "\xff"}, "framing: channel name is not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); got != c.want {
					t.Errorf("panicked with %q, want %q", got, c.want)
				}
			}()
			framing.AppendMessage(nil, c.m)
		})
	}
	t.Run("end of a control channel", func(t *testing.T) {
		defer func() {
			if got, want := fmt.Sprint(recover()), "framing: header: control channel ended"; got != want {
				t.Errorf("panicked with %q, want %q", got, want)
			}
		}()
		framing.AppendHeader(nil, framing.Header{Channel: framing.SessionChannel})
	})
	// The pool of writers has seen panics: it still serves.
	if got := len(framing.AppendMessage(nil, &framing.Ack{Count: 1})); got != 5 {
		t.Errorf("ACK is %d bytes afterwards, want 5", got)
	}
}

// TestReasonIsCut: an error's text may be long and odd; what is sent is not.
func TestReasonIsCut(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		want         int // bytes
	}{
		{"empty", "", 0},
		{"just fits", strings.Repeat("r", 256), 256},
		{"one too long", strings.Repeat("r", 257), 256},
		{"cut between characters", strings.Repeat("r", 255) + "é", 255},
		{"wide characters", strings.Repeat("日", 100), 255},
		{"not UTF-8", "a\xffb", len("a\uFFFDb")},
		{"not UTF-8 and long", strings.Repeat("\xffa", 200), 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, m := range []framing.Message{
				&framing.Reset{Channel: 1, Reason: c.reason},
				&framing.GoAway{Code: framing.CodeInternal, Reason: c.reason},
				&framing.ChannelRequest{ID: 1, Name: "a", IsAnswer: true, Reason: c.reason},
			} {
				var p framing.Parser
				frame := framing.Native{}.AppendControl(nil, m)
				h, n, err := framing.Native{}.ParseHeader(frame)
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := framing.Native{}.ParseControl(&p, h.Channel, frame[n:])
				if err != nil {
					t.Fatalf("%v: %v", m, err)
				}
				var reason string
				switch got := got.(type) {
				case *framing.Reset:
					reason = got.Reason
				case *framing.GoAway:
					reason = got.Reason
				case *framing.ChannelRequest:
					reason = got.Reason
				}
				if len(reason) != c.want || !utf8.ValidString(reason) {
					t.Errorf("%v arrives with a reason of %d bytes, want %d", m.MessageType(), len(reason), c.want)
				}
			}
		})
	}
}

// TestReasonOnlyInRefusals: an accepted answer carries none, whatever the struct says.
func TestReasonOnlyInRefusals(t *testing.T) {
	for _, r := range []framing.ChannelRequest{
		{ID: 1, Name: "a", Reason: "r"},
		{ID: 1, Name: "a", Accepted: true},
		{ID: 1, Name: "a", IsAnswer: true, Accepted: true, Reason: "r"},
	} {
		got, err := framing.ParseChannelRequest(framing.AppendChannelRequest(nil, r))
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		want := r
		want.Reason = ""
		want.Accepted = r.IsAnswer && r.Accepted
		if got != want {
			t.Errorf("%+v arrives as %+v", r, got)
		}
	}
}

// TestHostileBodiesAllocateLittle: no more than what has arrived, whatever the bytes promise.
func TestHostileBodiesAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too: bytes cannot be counted")
	}
	for _, v := range readVectors(t) {
		parse := func() { _, _ = framing.ParseMessage(v.bytes) }
		switch v.of {
		case "request":
			parse = func() { _, _ = framing.ParseChannelRequest(v.bytes) }
		case "message":
		default:
			continue
		}
		parse() // fills the pools
		const runs = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			parse()
		}
		runtime.ReadMemStats(&after)
		// 256: the message's struct and an error; the runtime's own allocations meanwhile.
		if got, limit := (after.TotalAlloc-before.TotalAlloc)/runs, uint64(len(v.bytes)+256); got > limit {
			t.Errorf("%s: %d bytes allocated for a body of %d", v.name, got, len(v.bytes))
		}
	}
}

// TestParserReuse: a parser forgets the last message, of which the next may leave fields out.
func TestParserReuse(t *testing.T) {
	var p framing.Parser
	var bodies [][]byte
	var want []string
	for _, m := range []framing.Message{
		&framing.Max{Channel: 9, Offset: 10}, &framing.Beacon{Nonce: 3, Answer: true}, &framing.Reset{Channel: 4, Code: 1, Reason: "r"},
		&framing.Reset{Channel: 5}, &framing.Beacon{Nonce: 4}, &framing.Max{Channel: 8, Offset: 1}, &framing.Ack{}, &framing.MaxSession{Offset: 1},
	} {
		bodies = append(bodies, framing.AppendMessage(nil, m))
		want = append(want, fmt.Sprint(m))
	}
	for range 2 {
		for i, body := range bodies {
			m, err := p.ParseMessage(body)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(m); got != want[i] {
				t.Errorf("got %s, want %s", got, want[i])
			}
			if _, err := p.ParseMessage(body[:len(body)-1]); err == nil {
				t.Errorf("%s: taken without its last byte", want[i])
			}
		}
	}
	first, err := framing.ParseMessage(bodies[0]) // the package's function gives a message of its own
	if err != nil {
		t.Fatal(err)
	}
	if _, err := framing.ParseMessage(bodies[5]); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(first); got != want[0] {
		t.Errorf("after another was parsed: %s, want %s", got, want[0])
	}
}

func TestCodesAreNamed(t *testing.T) {
	seen := map[string]framing.Code{}
	for c := framing.CodeNone; c <= framing.CodeInternal; c++ {
		name := c.String()
		if other, twice := seen[name]; twice || name == "" {
			t.Errorf("code %d is called %q, as %d", uint16(c), name, uint16(other))
		}
		seen[name] = c
	}
	if got, want := framing.Code(99).String(), "code 99"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := framing.Code(0x101).String(), "application code 257"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	_, err := framing.ParseMessage([]byte{0x80})
	if got, want := fmt.Sprint(err), "framing: session message: no type"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = framing.ParseMessage([]byte{0x82, 0, 99, 1, 0x91, 0})
	if got, want := fmt.Sprint(err), "framing: type 99: field 0 is critical and unknown"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var name *framing.NameError
	if err := framing.CheckName(""); !errors.As(err, &name) {
		t.Errorf("CheckName(\"\") = %v, want a *NameError", err)
	}
	if err := framing.CheckName(strings.Repeat("n", framing.MaxName)); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}

func BenchmarkControl(b *testing.B) {
	var codec framing.Codec = framing.Native{}
	var p framing.Parser
	for _, m := range []framing.Message{
		&framing.Max{Channel: 0x8001, Offset: 1 << 40}, &framing.Ack{Count: 1 << 33},
		&framing.ChannelRequest{ID: 0x8001, Name: "file://t-7f3k"},
	} {
		channel := framing.SessionChannel
		if m.MessageType() == framing.TypeRequest {
			channel = framing.Control
		}
		body := framing.AppendMessage(nil, m)
		buf := make([]byte, 0, 256)
		b.Run("parse "+m.MessageType().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := codec.ParseControl(&p, channel, body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("append "+m.MessageType().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sinkBytes = codec.AppendControl(buf, m)
			}
		})
	}
}
