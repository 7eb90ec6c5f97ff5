package dht

import (
	"net/netip"
	"testing"
)

func TestWhichAddressesTheModesAllow(t *testing.T) {
	for _, c := range []struct {
		addr                    string
		private, node, directly bool // a private node; a Mainline node; a direct message in Mainline mode
	}{
		{"8.8.8.8:6881", true, true, true},
		{"[2606:4700::1]:6881", true, true, true},
		{"127.0.0.1:6881", true, false, false},
		{"[::1]:6881", true, false, false},
		{"10.1.2.3:6881", true, false, true}, // a contact on the same LAN
		{"192.168.1.1:6881", true, false, true},
		{"[fd00::1]:6881", true, false, true},
		{"100.64.0.1:6881", true, false, true},
		{"169.254.169.254:80", true, false, false}, // a cloud's metadata
		{"[fe80::1]:6881", true, false, false},
		{"198.51.100.1:6881", true, false, true},
		{"240.0.0.1:6881", true, false, false},
		{"[64:ff9b::7f00:1]:6881", true, false, false}, // loopback behind NAT64
		{"[2002:7f00:1::1]:6881", true, false, true},   // and in 6to4: no node, and nothing a host routes to itself
		{"[2001:0:1::1]:6881", true, false, true},
		{"[2001:db8::1]:6881", true, false, true},
		{"8.8.8.8:0", false, false, false},
		{"0.0.0.0:6881", false, false, false},
		{"[::]:6881", false, false, false},
		{"224.0.0.1:6881", false, false, false},
		{"255.255.255.255:6881", false, false, false},
		{"[ff02::1]:6881", false, false, false},
		{"[::ffff:127.0.0.1]:6881", false, false, false}, // addresses are unmapped at the door
	} {
		a := netip.MustParseAddrPort(c.addr)
		if got := Private.allowsNode(a); got != c.private {
			t.Errorf("private node at %s: %v, want %v", a, got, c.private)
		}
		if got := Private.allowsDirect(a); got != c.private {
			t.Errorf("private, direct to %s: %v, want %v", a, got, c.private)
		}
		if got := Mainline.allowsNode(a); got != c.node {
			t.Errorf("mainline node at %s: %v, want %v", a, got, c.node)
		}
		if got := Mainline.allowsDirect(a); got != c.directly {
			t.Errorf("mainline, direct to %s: %v, want %v", a, got, c.directly)
		}
	}
}

func TestObservedAddressesNeedThreeHosts(t *testing.T) {
	var o observedAddrs
	host := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{8, 8, 8, n}) }
	right, wrong := netip.MustParseAddrPort("9.9.9.9:1000"), netip.MustParseAddrPort("6.6.6.6:1")
	right6 := netip.MustParseAddrPort("[2606::1]:1000")
	for range 10 {
		o.vote(host(1), wrong) // one host, however often
	}
	o.vote(host(2), right)
	o.vote(host(3), right)
	if got := o.believed(); len(got) != 0 {
		t.Errorf("believed %v on two hosts' word", got)
	}
	o.vote(host(4), right)
	for n := byte(5); n < 8; n++ {
		o.vote(host(n), right6)
	}
	if got := o.believed(); len(got) != 2 || got[0] != right6 && got[1] != right6 || got[0] != right && got[1] != right {
		t.Errorf("believed %v, want %v and %v", got, right, right6)
	}
	for n := byte(20); n < 40; n++ { // we moved: newer votes replace older ones
		o.vote(host(n), wrong)
	}
	if got := o.believed(); len(got) != 1 || got[0] != wrong {
		t.Errorf("believed %v, want %v", got, wrong)
	}
	if len(o.votes) > maxVotes {
		t.Errorf("%d votes kept, want %d at most", len(o.votes), maxVotes)
	}
}
