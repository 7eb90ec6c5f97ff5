package turn

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
)

// FuzzRequest gives a request any method and any attributes, signed by a user who has an allocation, unsigned, or as an
// indication. Whatever comes: no panic, and an answer is a signed response to it. Everybody is denied as a peer, so that
// nothing leaves the machine.
func FuzzRequest(f *testing.F) {
	attr := func(t stun.AttrType, value ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(t))
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		return append(append(b, value...), make([]byte, (4-len(value)%4)%4)...)
	}
	transport := attr(stun.AttrRequestedTransport, 17, 0, 0, 0)
	for _, method := range []stun.Method{1, 3, 4, 6, 8, 9, 10, 11, 12, 0xfff} {
		f.Add(uint16(method), byte(0), []byte{})
		f.Add(uint16(method), byte(1), transport)
		f.Add(uint16(method), byte(2), append(attr(stun.AttrXORPeerAddress, 0, 1, 0x21, 0x12, 0x21, 0x12, 0xa4, 0x42), attr(stun.AttrData, 1, 2, 3)...))
		f.Add(uint16(method), byte(1), append(attr(stun.AttrChannelNumber, 0x40, 0, 0, 0), attr(stun.AttrXORPeerAddress, 0, 1, 0, 1, 2, 3, 4, 5)...))
	}
	f.Add(uint16(3), byte(1), append(append([]byte{}, transport...), attr(stun.AttrEvenPort, 0x80)...))
	f.Add(uint16(3), byte(1), append(append([]byte{}, transport...), attr(stun.AttrReservationToken, 1, 2, 3, 4, 5, 6, 7, 8)...))
	f.Add(uint16(4), byte(1), attr(stun.AttrLifetime, 0, 0, 0, 0))
	f.Add(uint16(11), byte(1), attr(stun.AttrConnectionID, 0, 0, 0, 1))

	s, err := New(Config{
		ListenUDP: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}, RelayIP4: loop4, Realm: "test", Users: map[string]string{"u": "p"},
		DenyPeers: prefixes("0.0.0.0/0", "::/0"),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	key := stun.LongTermKey("u", "test", "p")
	tuple := tupleFor("127.0.0.1:4000")
	sh := s.shards[0]
	up := uplink{shard: sh}

	f.Fuzz(func(t *testing.T, method uint16, kind byte, attrs []byte) {
		if len(attrs) > 60_000 {
			return
		}
		now := s.now()
		typ := stun.Method(method & 0xfff).Request()
		if kind%3 == 2 {
			typ = stun.Method(method & 0xfff).Indication()
		}
		b := stun.New(nil, typ, stun.TransactionID{1})
		raw := append(b.Bytes(), attrs[:len(attrs)&^3]...)
		binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)-stun.HeaderLen))
		if kind%3 == 1 {
			raw = sign(raw, s.nonces.append(nil, now, tuple, true), key)
		}
		msg, err := stun.Parse(raw)
		if err != nil {
			return
		}
		if kind%3 == 2 {
			up.indication(now, tuple, msg, 0)
			up.channelData(now, tuple, attrs)
			up.flush()
			return
		}
		r := new(request)
		r.take(sh, now, tuple, msg, nil)
		r.listener = sh.listeners[0]
		answer := r.serve()
		if answer != nil {
			m, err := stun.Parse(answer)
			if err != nil || m.TransactionID() != msg.TransactionID() || m.Type().Method != typ.Method || m.Type().Class < stun.ClassSuccess {
				t.Fatalf("answer %x, %v", answer, err)
			}
			if r.authentic && m.CheckIntegrity(key) != nil && m.CheckIntegritySHA256(key, 32) != nil {
				t.Fatalf("answer %x is not signed", answer)
			}
		}
		if n := sh.table.Len(); n > 1 {
			t.Fatalf("%d allocations of one 5-tuple", n)
		}
		if kind%7 == 0 {
			sh.end(tuple)
		}
	})
}

// sign appends the user's names and integrity to a raw request.
func sign(raw, nonce, key []byte) []byte {
	add := func(t stun.AttrType, value []byte) {
		raw = binary.BigEndian.AppendUint16(raw, uint16(t))
		raw = binary.BigEndian.AppendUint16(raw, uint16(len(value)))
		raw = append(append(raw, value...), make([]byte, (4-len(value)%4)%4)...)
	}
	add(stun.AttrUsername, []byte("u"))
	add(stun.AttrRealm, []byte("test"))
	add(stun.AttrNonce, nonce)
	// A builder signs; its message is this one, attribute by attribute.
	binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)-stun.HeaderLen))
	unsigned, err := stun.Parse(raw)
	if err != nil {
		return raw
	}
	b := stun.New(nil, unsigned.Type(), unsigned.TransactionID())
	for t, value := range unsigned.All() {
		switch t {
		case stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256, stun.AttrFingerprint:
		default:
			b.Add(t, value)
		}
	}
	b.AddIntegrity(key)
	return b.Bytes()
}

// FuzzStreamFrames: however a stream is cut, frameLen never asks for nothing and never goes beyond the longest frame, and
// what it calls whole is parsed.
func FuzzStreamFrames(f *testing.F) {
	f.Add([]byte{0x40, 0, 0, 1, 'x', 0, 0, 0}, true)
	f.Add([]byte{0x7f, 0xfe, 0xff, 0xff}, true)
	f.Add([]byte{0x50, 0, 0, 0}, false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, false)
	f.Fuzz(func(t *testing.T, b []byte, wide bool) {
		st := &stream{wide: wide}
		st.spoken.Store(wide)
		for len(b) > 0 {
			n, need, err := st.frameLen(b)
			if err != nil {
				return
			}
			if n > stun.MaxFrame || need > stun.MaxFrame {
				t.Fatalf("n %d, need %d of %d bytes", n, need, len(b))
			}
			if need > 0 {
				return
			}
			if n <= 0 || n > len(b) {
				t.Fatalf("a whole frame of %d in %d bytes", n, len(b))
			}
			if stun.KindOf(b[0]) != stun.KindSTUN {
				if _, data, err := parseChannelData(b[:n]); err == nil && len(data) > n-4 {
					t.Fatalf("%d bytes of data in a frame of %d", len(data), n)
				}
			}
			b = b[n:]
		}
	})
}

// FuzzPolicy: an IPv6 address that carries a denied IPv4 address is denied, and nothing panics.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1}, uint8(0))
	f.Add([]byte{8, 8, 8, 8}, uint8(3))
	p, err := newPolicy(Config{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, form uint8) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		reason := p.address(ip)
		if !ip.Is4() {
			return
		}
		v4 := ip.As4()
		var v6 [16]byte
		switch form % 5 {
		case 0:
			v6[10], v6[11] = 0xff, 0xff
			copy(v6[12:], v4[:])
		case 1:
			copy(v6[:], []byte{0, 0x64, 0xff, 0x9b})
			copy(v6[12:], v4[:])
		case 2:
			v6[0], v6[1] = 0x20, 0x02
			copy(v6[2:], v4[:])
		case 3:
			copy(v6[:], []byte{0x20, 1, 0, 0})
			for i, x := range v4 {
				v6[12+i] = ^x
			}
		case 4:
			copy(v6[:], []byte{0x26, 6, 0x47, 0, 0, 0, 0, 0, 2, 0, 0x5e, 0xfe})
			copy(v6[12:], v4[:])
		}
		if disguised := netip.AddrFrom16(v6); reason != Allowed && p.address(disguised) == Allowed {
			t.Fatalf("%v is denied and %v is not", ip, disguised)
		}
	})
}
