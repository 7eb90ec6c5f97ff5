package main

import (
	"net/netip"
	"os"
	"testing"
)

// TestSink: what was relayed is counted and dropped, and nothing else is.
func TestSink(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("eBPF takes root")
	}
	h := &host{n: 1}
	h.client, h.sink, h.relay = [2]netip.Addr{netip.MustParseAddr("10.77.1.1"), netip.MustParseAddr("fd77:1::1")},
		[2]netip.Addr{netip.MustParseAddr("10.77.1.2"), netip.MustParseAddr("fd77:1::2")},
		[2]netip.Addr{netip.MustParseAddr("10.77.1.10"), netip.MustParseAddr("fd77:1::10")}
	s, err := newSinkhole(h)
	if err != nil {
		t.Skip("no eBPF here: ", err)
	}
	defer s.close()
	at := netip.AddrPortFrom
	channelData, stun := []byte{0x40, 1, 0, 4, 1, 2, 3, 4}, []byte{0, 1, 0, 0, 1, 2, 3, 4}
	for family, name := range []string{"IPv4", "IPv6"} {
		header := int64(28)
		if family == v6 {
			header = 48
		}
		for _, c := range []struct {
			name     string
			from, to netip.Addr
			payload  []byte
			verdict  uint32
			up, down int64
		}{
			{"up", h.relay[family], h.sink[family], stun, actShot, 1, 0},
			{"down", h.relay[family], h.client[family], channelData, actShot, 0, 1},
			{"an answer", h.relay[family], h.client[family], stun, actOK, 0, 0},
			{"nothing in it", h.relay[family], h.client[family], nil, actOK, 0, 0},
			{"from elsewhere", h.client[family], h.client[family], channelData, actOK, 0, 0},
		} {
			t.Run(name+", "+c.name, func(t *testing.T) {
				up, upBytes, _ := s.read(true)
				down, downBytes, _ := s.read(false)
				verdict, _, err := s.prog.Test(h.frame(at(c.from, 1), at(c.to, 2), c.payload, 0)[vnetHeader:])
				if err != nil {
					t.Fatal(err)
				}
				up1, upBytes1, err := s.read(true)
				if err != nil {
					t.Fatal(err)
				}
				down1, downBytes1, _ := s.read(false)
				octets := header + int64(len(c.payload))
				if verdict != c.verdict || up1-up != c.up || down1-down != c.down || upBytes1-upBytes != c.up*octets || downBytes1-downBytes != c.down*octets {
					t.Errorf("verdict %d, up %d of %d bytes, down %d of %d", verdict, up1-up, upBytes1-upBytes, down1-down, downBytes1-downBytes)
				}
			})
		}
	}
	if verdict, _, err := s.prog.Test(h.frame(at(h.relay[v4], 1), netip.MustParseAddrPort("10.78.9.9:1"), stun, 0)[vnetHeader:]); err != nil || verdict != actShot {
		t.Errorf("a sender who does not exist: %d, %v", verdict, err)
	}
}
