package muxdecode_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"traverse.internal/core/framing"
	"traverse.internal/docs/protocol/muxdecode"
)

// theirs decodes a stream with core/framing, into the lines that muxdecode.Stream writes.
func theirs(b []byte) []string {
	var codec framing.Codec = framing.Native{}
	var p framing.Parser
	var lines []string
	for len(b) > 0 {
		h, n, err := codec.ParseHeader(b)
		if errors.Is(err, framing.ErrShort) || err == nil && len(b) < n+int(h.Length) {
			return append(lines, fmt.Sprintf("is rest=%x", b))
		}
		if err != nil {
			return append(lines, "error "+word(err))
		}
		body := b[n : n+int(h.Length)]
		b = b[n+len(body):]
		switch {
		case !h.Channel.IsData():
			m, _, err := codec.ParseControl(&p, h.Channel, body)
			if err != nil {
				return append(lines, "error "+word(err))
			}
			lines = append(lines, fmt.Sprintf("is %v", m))
		case len(body) == 0:
			lines = append(lines, fmt.Sprintf("is channel=%04x EOF", uint16(h.Channel)))
		default:
			lines = append(lines, fmt.Sprintf("is channel=%04x data=%x", uint16(h.Channel), body))
		}
	}
	return lines
}

// word writes core/framing's error as the vectors do.
func word(err error) string {
	var critical *framing.CriticalError
	var name *framing.NameError
	switch {
	case errors.As(err, &critical):
		return fmt.Sprintf("critical %d", critical.Key)
	case errors.As(err, &name):
		return fmt.Sprintf("name %04x", uint16(name.Channel))
	}
	return "malformed"
}

// agree reports the first frame that the two decoders understand differently.
func agree(t *testing.T, stream []byte) {
	t.Helper()
	ours, framings := muxdecode.Stream(stream), theirs(stream)
	for i := range max(len(ours), len(framings)) {
		a, b := "nothing", "nothing"
		if i < len(ours) {
			a = ours[i]
		}
		if i < len(framings) {
			b = framings[i]
		}
		if a != b {
			t.Fatalf("frame %d of %x:\nfrom the page: %s\ncore/framing:  %s", i, stream, a, b)
		}
	}
}

// framed puts a control body on its channel.
func framed(channel uint16, body []byte) []byte {
	return append([]byte{byte(len(body) >> 8), byte(len(body)), byte(channel >> 8), byte(channel)}, body...)
}

// seeds returns the vectors as streams.
func seeds(t testing.TB) [][]byte {
	var all [][]byte
	for _, b := range readBlocks(t) {
		switch b.lines["of"] {
		case "request":
			all = append(all, framed(0, b.hex(t, "hex")))
		case "message":
			all = append(all, framed(0xffff, b.hex(t, "hex")))
		case "stream", "header":
			all = append(all, b.hex(t, "hex"))
		}
	}
	return all
}

// TestDifferential breaks the vectors in a hundred thousand small ways, the same ones each time, and compares what the
// two decoders say. The fuzz test beside it looks further.
func TestDifferential(t *testing.T) {
	streams := seeds(t)
	rng := rand.New(rand.NewPCG(1, 2))
	interesting := []byte{0, 1, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0xa0, 0xc0, 0xc1, 0xc2, 0xc4, 0xc7, 0xcc, 0xcf, 0xd0, 0xd3, 0xd4, 0xd9, 0xdc, 0xdf, 0xff}
	for range 100_000 {
		b := append([]byte(nil), streams[rng.IntN(len(streams))]...)
		for range 1 + rng.IntN(3) {
			if len(b) == 0 {
				break
			}
			i := rng.IntN(min(len(b), 64))
			switch rng.IntN(4) {
			case 0:
				b[i] = interesting[rng.IntN(len(interesting))]
			case 1:
				b[i] ^= 1 << rng.IntN(8)
			case 2:
				b = append(b[:i], b[i+1:]...)
			case 3:
				b = append(b[:i], append([]byte{interesting[rng.IntN(len(interesting))]}, b[i:]...)...)
			}
		}
		agree(t, b)
		if len(b) > 4 && len(b) < 4096 { // with a right length the change is seen by the body's parser and not by the header's
			agree(t, framed(0, b[4:]))
			agree(t, framed(0xffff, b[4:]))
		}
	}
}

func FuzzDifferential(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		agree(t, b)
		if len(b) > 0 && len(b) <= 65535 {
			agree(t, framed(0, b))
			agree(t, framed(0xffff, b))
		}
	})
}
