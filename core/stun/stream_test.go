package stun_test

import (
	"bytes"
	"slices"
	"testing"

	"traverse.internal/core/stun"
)

func TestStreamFrameLen(t *testing.T) {
	msg := packet(t, "8022 0004 61626364")
	tests := []struct {
		name    string
		b       []byte
		n, need int
		err     error
	}{
		{"nothing yet", nil, 0, 4, nil},
		{"one byte of a message", msg[:1], 0, 3, nil},
		{"length known, cookie not", msg[:4], 28, 16, nil},
		{"half a header", msg[:10], 28, 10, nil},
		{"a header", msg[:20], 28, 8, nil},
		{"a message", msg, 28, 0, nil},
		{"a message and more", append(bytes.Clone(msg), 0xff, 0xff), 28, 0, nil},
		{"the longest message", unhex(t, "0001fffc 2112a442 000000000000000000000000"), 65552, 65532, nil},
		{"length no multiple of four", unhex(t, "00010002"), 0, 0, stun.ErrFrame},
		{"wrong cookie", unhex(t, "00010000 2112a443"), 0, 0, stun.ErrFrame},
		{"a TLS record", unhex(t, "1603010200 010001fc"), 0, 0, stun.ErrFrame},
		{"HTTP", []byte("GET / HTTP/1.1"), 21540, 21526, nil}, // "GE" is a channel number: only the server knows it is unbound
		{"empty channel data", unhex(t, "40000000"), 4, 0, nil},
		{"channel data of 1 byte, padding missing", unhex(t, "40000001 61"), 8, 3, nil},
		{"channel data of 1 byte", unhex(t, "40000001 61000000"), 8, 0, nil},
		{"channel data of 4", unhex(t, "4fff0004 61626364"), 8, 0, nil},
		{"channel data of 65535", unhex(t, "4000ffff"), 65540, 65536, nil},
		{"first byte 0x50", []byte{0x50}, 0, 0, stun.ErrFrame},
		{"first byte 0x80", []byte{0x80}, 0, 0, stun.ErrFrame},
		{"first byte 0xff", []byte{0xff}, 0, 0, stun.ErrFrame},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, need, err := stun.StreamFrameLen(tt.b)
			if n != tt.n || need != tt.need || err != tt.err {
				t.Errorf("got %d, %d, %v, want %d, %d, %v", n, need, err, tt.n, tt.need, tt.err)
			}
		})
	}
}

// frames cuts a stream into frames and never asks for a byte that belongs to the next one.
func frames(stream []byte) (all [][]byte, err error) {
	have := 0
	for {
		n, need, err := stun.StreamFrameLen(stream[:have])
		if err != nil {
			return all, err
		}
		if need > 0 {
			if have+need > len(stream) {
				return all, nil
			}
			have += need
			continue
		}
		if n != have {
			panic("read beyond the frame")
		}
		all = append(all, stream[:n])
		stream, have = stream[n:], 0
	}
}

func TestStreamOfFrames(t *testing.T) {
	parts := [][]byte{
		packet(t, "8022 0004 61626364"),
		unhex(t, "40000000"),
		unhex(t, "40000001 61000000"),
		header(0),
		unhex(t, "4fff0003 61626300"),
		append(unhex(t, "4001ffff"), make([]byte, 65536)...),
	}
	got, err := frames(slices.Concat(parts...))
	if err != nil || !slices.EqualFunc(got, parts, bytes.Equal) {
		t.Errorf("got %d frames, %v, want %d", len(got), err, len(parts))
	}
}

func TestParseChannelData(t *testing.T) {
	tests := []struct {
		name, b string
		num     uint16
		data    string
		err     error
	}{
		{"data", "40000003 616263", 0x4000, "abc", nil},
		{"with padding", "40000003 61626300", 0x4000, "abc", nil},
		{"empty", "4fff0000", 0x4fff, "", nil},
		{"length beyond the datagram", "40000004 616263", 0, "", stun.ErrChannelData},
		{"length of 65535", "4000ffff 616263", 0, "", stun.ErrChannelData},
		{"three bytes", "400000", 0, "", stun.ErrChannelData},
		{"number below", "3fff0000", 0, "", stun.ErrChannelNumber},
		{"number above", "50000000", 0, "", stun.ErrChannelNumber},
	}
	for _, tt := range tests {
		num, data, err := stun.ParseChannelData(unhex(t, tt.b))
		if num != tt.num || string(data) != tt.data || err != tt.err {
			t.Errorf("%s: got %#x, %q, %v, want %#x, %q, %v", tt.name, num, data, err, tt.num, tt.data, tt.err)
		}
	}
	b := stun.AppendChannelDataHeader(nil, 0x4abc, 5)
	b = append(b, "hello"...)
	b = append(b, make([]byte, stun.ChannelDataPadding(5))...)
	if !bytes.Equal(b, unhex(t, "4abc0005 68656c6c6f000000")) {
		t.Errorf("built %x", b)
	}
}

func TestKindOf(t *testing.T) {
	edges := []struct {
		first, last byte
		want        stun.Kind
	}{
		{0x00, 0x03, stun.KindSTUN},
		{0x04, 0x13, stun.KindOther},
		{0x14, 0x3f, stun.KindTLS},
		{0x40, 0x4f, stun.KindChannelData},
		{0x50, 0xff, stun.KindOther},
	}
	for _, e := range edges {
		for b := int(e.first); b <= int(e.last); b++ {
			if got := stun.KindOf(byte(b)); got != e.want {
				t.Errorf("KindOf(%#x) = %d, want %d", b, got, e.want)
			}
		}
	}
}
