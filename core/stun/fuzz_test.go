package stun_test

import (
	"bytes"
	"testing"

	"traverse.internal/core/stun"
)

// What Parse accepts can be taken apart and put together again: the rebuilt message has the same attributes, and
// rebuilding it once more gives the same bytes. No accessor panics on anything.
func FuzzParse(f *testing.F) {
	for _, x := range captured(f) {
		f.Add(x.raw)
	}
	f.Add(unhex(f, sampleRequest))
	f.Add(unhex(f, sampleLongTerm))
	f.Add(packet(f, "001c0010 00000000000000000000000000000000 00080014 0000000000000000000000000000000000000000"))
	f.Add(packet(f, "00120008 0001a147e112a643 00120008 0002a147e112a643 80010004 02000428 00180001 80ffffff"))
	f.Add(packet(f, "80020008 0002000300000000 00220008 0000000000000000 80040008 0000000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := stun.Parse(b)
		if err != nil {
			return
		}
		touch(m)
		first := rebuild(m)
		again, err := stun.Parse(first)
		if err != nil {
			t.Fatalf("rebuilt message: %v\n%x", err, first)
		}
		if again.Type() != m.Type() || again.TransactionID() != m.TransactionID() {
			t.Fatalf("got %v %v, want %v %v", again.Type(), again.TransactionID(), m.Type(), m.TransactionID())
		}
		if second := rebuild(again); !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%x\n%x", first, second)
		}
	})
}

// rebuild adds the attributes that count one by one; the checks are computed anew when they are there.
func rebuild(m stun.Message) []byte {
	b := stun.New(nil, m.Type(), m.TransactionID())
	for a, v := range m.All() {
		switch a {
		case stun.AttrMessageIntegrity:
			b.AddIntegrity([]byte("key"))
		case stun.AttrMessageIntegritySHA256:
			b.AddIntegritySHA256([]byte("key"))
		case stun.AttrFingerprint:
			b.AddFingerprint()
		default:
			b.Add(a, v)
		}
	}
	return b.Bytes()
}

// touch calls every accessor.
func touch(m stun.Message) {
	for a := range m.All() {
		_ = a.String()
		_, _ = m.Text(a)
		_, _ = m.Uint32(a)
		_, _ = m.Uint64(a)
		_, _ = m.Family(a)
		_, _ = m.Addr(a)
		_, _ = m.XORAddr(a)
		_, _ = m.AppendXORAddrs(nil, a)
	}
	_, _, _ = m.ErrorCode()
	_, _, _ = m.AddressError()
	_, _ = m.EvenPort()
	_, _ = m.ChannelNumber()
	_, _ = m.RequestedTransport()
	_, _ = m.ReservationToken()
	_, _, _, _ = m.ICMP()
	_, _ = m.AppendUnknownAttributes(nil)
	_ = m.AppendUnknown(nil, nil)
	_ = m.CheckIntegrity([]byte("key"))
	_ = m.CheckIntegritySHA256([]byte("key"), 16)
	_ = m.CheckFingerprint()
	for v, ok := m.Attr(stun.AttrPasswordAlgorithms); ok && len(v) > 0; {
		var err error
		if _, _, v, err = stun.NextPasswordAlgorithm(v); err != nil {
			return
		}
	}
}

// However a stream is cut into reads, it falls into the same frames, and a frame that is a message or channel data by
// its framing has the length that its parser expects.
func FuzzStreamFrame(f *testing.F) {
	f.Add(unhex(f, "40000001 61000000 40000000"), uint8(1))
	f.Add(append(header(0), unhex(f, "4fff0003 616263ff")...), uint8(3))
	f.Add(unhex(f, "4000ffff"), uint8(2))
	for _, x := range captured(f) {
		f.Add(x.raw, uint8(7))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		whole, wholeErr := frames(stream)
		var cut [][]byte
		var cutErr error
		rest := stream
		for have := 0; have <= len(rest); have += 1 + int(step)%16 {
			n, need, err := stun.StreamFrameLen(rest[:have])
			if cutErr = err; err != nil {
				break
			}
			if n > stun.MaxFrame {
				t.Fatalf("frame of %d", n)
			}
			if need == 0 {
				cut = append(cut, rest[:n])
				rest, have = rest[n:], -1-int(step)%16
			}
		}
		if len(cut) > len(whole) {
			t.Fatalf("%d frames in pieces (%v), %d whole (%v)", len(cut), cutErr, len(whole), wholeErr)
		}
		for i := range cut {
			if !bytes.Equal(cut[i], whole[i]) {
				t.Fatalf("frame %d: %x, want %x", i, cut[i], whole[i])
			}
			if stun.KindOf(cut[i][0]) == stun.KindChannelData {
				if _, data, err := stun.ParseChannelData(cut[i]); err != nil || len(data)+4 > len(cut[i]) {
					t.Fatalf("frame %d: %v", i, err)
				}
			} else if _, err := stun.Parse(cut[i]); err == stun.ErrLength || err == stun.ErrNotSTUN {
				t.Fatalf("frame %d: %v", i, err)
			}
		}
	})
}
