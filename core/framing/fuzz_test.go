package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"traverse.internal/core/framing"
)

// roundTrip checks that a message that was parsed can be written, shorter or as long, and reads the same again.
func roundTrip(t *testing.T, channel framing.ChannelID, body []byte) {
	t.Helper()
	var p, q framing.Parser
	before := bytes.Clone(body)
	m, rest, err := framing.Native{}.ParseControl(&p, channel, body)
	if !bytes.Equal(before, body) {
		t.Fatalf("parsing changed the body %x", before)
	}
	if err != nil {
		if m != nil {
			t.Fatalf("%v beside the error %v", m, err)
		}
		return
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes left", len(rest))
	}
	if _, ok := m.(*framing.Unknown); ok {
		return
	}
	again := framing.AppendMessage(nil, m)
	if len(again) > len(body) {
		t.Fatalf("%x was written again as %x", body, again)
	}
	m2, _, err := framing.Native{}.ParseControl(&q, channel, again)
	if err != nil {
		t.Fatalf("%x, written again from %x: %v", again, body, err)
	}
	if fmt.Sprint(m) != fmt.Sprint(m2) {
		t.Fatalf("%x reads %v, written again %v", body, m, m2)
	}
}

// addBodies adds the vectors of that kind as seeds.
func addBodies(f *testing.F, of string) {
	for _, v := range readVectors(f) {
		if v.of == of {
			f.Add(v.bytes)
		}
	}
}

func FuzzParseChannelRequest(f *testing.F) {
	addBodies(f, "request")
	f.Fuzz(func(t *testing.T, body []byte) {
		roundTrip(t, framing.Control, body)
		_, err := framing.ParseChannelRequest(body)
		var name *framing.NameError
		if errors.As(err, &name) && !name.Channel.IsData() {
			t.Fatalf("%x: a bad name on channel %d", body, name.Channel)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	addBodies(f, "message")
	f.Fuzz(func(t *testing.T, body []byte) { roundTrip(t, framing.SessionChannel, body) })
}

// decodeStream reads the whole frames at the front of b, as lines, and writes them again.
func decodeStream(b []byte) (lines []string, written []byte) {
	var codec framing.Codec = framing.Native{}
	var p framing.Parser
	for {
		h, n, err := codec.ParseHeader(b)
		if errors.Is(err, framing.ErrShort) || err == nil && len(b) < n+int(h.Length) {
			return lines, written
		}
		if err != nil {
			return append(lines, errorWord(err)), written
		}
		body := b[n : n+int(h.Length)]
		b = b[n+len(body):]
		if h.Channel.IsData() {
			lines = append(lines, fmt.Sprintf("%v %x", h, body))
			written = append(codec.AppendHeader(written, h), body...)
			continue
		}
		m, _, err := codec.ParseControl(&p, h.Channel, body)
		if err != nil {
			return append(lines, errorWord(err)), written
		}
		if m.MessageType() <= framing.TypeResume {
			lines = append(lines, fmt.Sprint(m))
			written = codec.AppendControl(written, m)
		}
	}
}

// FuzzDecoder: a stream means the same after it has been written again, and its first part means the first part.
func FuzzDecoder(f *testing.F) {
	for _, v := range readVectors(f) {
		switch v.of {
		case "stream":
			f.Add(v.bytes, uint16(len(v.bytes)/2))
		case "request":
			f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(v.bytes))<<16), v.bytes...), uint16(5))
		case "message":
			f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(v.bytes))<<16|0xffff), v.bytes...), uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		lines, written := decodeStream(b)
		good := lines
		if len(good) > 0 && len(good[len(good)-1]) > 5 && good[len(good)-1][:5] == "error" {
			good = good[:len(good)-1]
		}
		again, writtenAgain := decodeStream(written)
		if !slices.Equal(again, good) {
			t.Fatalf("%x reads\n%q, written again\n%q", b, good, again)
		}
		if !bytes.Equal(written, writtenAgain) {
			t.Fatalf("%x is written\n%x, and the second time\n%x", b, written, writtenAgain)
		}
		first, _ := decodeStream(b[:min(int(cut), len(b))])
		if len(first) > len(lines) || !slices.Equal(first, lines[:len(first)]) {
			t.Fatalf("the first %d bytes of %x read\n%q, all of it\n%q", cut, b, first, lines)
		}
	})
}
