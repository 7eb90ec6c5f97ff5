package ice

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func host(index int, at string) Candidate {
	a := ap(at)
	return Candidate{
		Foundation: foundation(TypeHost, a.Addr()), Component: 1, TCP: true, Priority: priority(TypeHost, index), Addr: a,
		Type: TypeHost, TCPType: "passive",
	}
}

// normal is what a device with two interfaces and two relays offers.
func normal() Offer {
	return Offer{
		Ufrag: "6a5a2f55", Password: "6ee5429c1203d5433f8c7155", Policy: Auto,
		Candidates: []Candidate{
			host(0, "[2001:db8::1]:47723"), host(1, "192.0.2.7:47723"), host(2, "[fd77:2::2]:47723"), host(3, "10.77.2.2:47723"),
		},
		Relays:       []netip.AddrPort{ap("198.51.100.1:53530"), ap("[2001:db8:1::1]:53531")},
		Sources:      []netip.Addr{netip.MustParseAddr("203.0.113.5")},
		Capabilities: 3,
	}
}

// TestOfferText has the documents' own example and what follows from their words.
func TestOfferText(t *testing.T) {
	const jami = "6a5a2f55\n6ee5429c1203d5433f8c7155\n" +
		"Ha4d0202 1 TCP 2130706431 10.77.2.2 47723 typ host tcptype passive\n" +
		"Ha4d0202 1 TCP 2130706175 10.77.2.2 9 typ host tcptype active\n" +
		"H95788718 1 TCP 2130706431 fd77:2::2 58439 typ host tcptype passive\n" +
		"Sa4d0202 1 TCP 1694498303 203.0.113.5 9 typ srflx tcptype active\n" +
		"Ra4d0001 1 TCP 16777215 10.77.0.1 53530 typ relay tcptype passive\n"
	o, err := ParseText([]byte(jami))
	if err != nil {
		t.Fatal(err)
	}
	want := Offer{
		Ufrag: "6a5a2f55", Password: "6ee5429c1203d5433f8c7155",
		Candidates: []Candidate{
			{"Ha4d0202", 1, true, 2130706431, ap("10.77.2.2:47723"), TypeHost, "passive"},
			{"H95788718", 1, true, 2130706431, ap("[fd77:2::2]:58439"), TypeHost, "passive"},
			{"Ra4d0001", 1, true, 16777215, ap("10.77.0.1:53530"), TypeRelay, "passive"},
		},
		Sources: []netip.Addr{netip.MustParseAddr("10.77.2.2"), netip.MustParseAddr("203.0.113.5")},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}

	const relaysOnly = "abcd\n6ee5429c1203d5433f8c7155\n198.51.100.1:53530\n[2001:db8::1]:3\n"
	o, err = ParseText([]byte(relaysOnly))
	if err != nil || len(o.Candidates) != 0 || len(o.Relays) != 2 {
		t.Errorf("only relay lines: got %+v (%v), want two relays and no candidate", o, err)
	}
	if got := string(o.AppendText(nil)); got != relaysOnly {
		t.Errorf("printed %q, want %q", got, relaysOnly)
	}

	const two = "abcd\n6ee5429c1203d5433f8c7155\nH1 1 TCP 5 10.0.0.1 7 typ host tcptype so\n" +
		"efgh\n7ee5429c1203d5433f8c7155\nH1 1 UDP 5 10.0.0.1 7 typ host\n"
	o, err = ParseText([]byte(two))
	if err != nil || o.Ufrag != "abcd" || o.UDPUfrag != "efgh" || len(o.Candidates) != 2 || o.Candidates[1].TCP {
		t.Errorf("two messages: got %+v (%v)", o, err)
	}
	if got := string(o.AppendText(nil)); got != two {
		t.Errorf("printed %q, want %q", got, two)
	}
	swapped := two[strings.Index(two, "efgh"):] + two[:strings.Index(two, "efgh")]
	if s, err := ParseText([]byte(swapped)); err != nil || !reflect.DeepEqual(s, o) {
		t.Errorf("UDP first: got %+v (%v), want %+v", s, err, o)
	}
}

func TestOfferTextRefused(t *testing.T) {
	const head = "abcd\n6ee5429c1203d5433f8c7155\n"
	line := func(s string) string { return head + s + "\n" }
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "line 1: ufrag"},
		{"ufrag alone", "abcd\n", "no password"},
		{"short password", "abcd\nabc\n", "line 2: password"},
		{"ufrag with a colon", "ab:cd\n6ee5429c1203d5433f8c7155\n", "line 1: ufrag"},
		{"port 0", line("H1 1 TCP 5 10.0.0.1 0 typ host tcptype so"), "line 3: port 0"},
		{"relay port 0", line("10.0.0.1:0"), "relay: port 0"},
		{"unspecified", line("H1 1 TCP 5 0.0.0.0 7 typ host tcptype so"), "unspecified"},
		{"unspecified in disguise", line("H1 1 TCP 5 ::ffff:0.0.0.0 7 typ host tcptype so"), "unspecified"},
		{"unspecified relay", line("[::]:9"), "unspecified"},
		{"multicast", line("H1 1 TCP 5 ff02::1 7 typ host tcptype so"), "multicast"},
		{"broadcast", line("H1 1 TCP 5 255.255.255.255 7 typ host tcptype so"), "broadcast"},
		{"zone", line("H1 1 TCP 5 fe80::1%eth0 7 typ host tcptype so"), "zone"},
		{"name for an address", line("H1 1 TCP 5 host.example 7 typ host tcptype so"), "not an address"},
		{"component 0", line("H1 0 TCP 5 10.0.0.1 7 typ host tcptype so"), "component"},
		{"priority too large", line("H1 1 TCP 4294967296 10.0.0.1 7 typ host tcptype so"), "priority"},
		{"port too large", line("H1 1 TCP 5 10.0.0.1 65536 typ host tcptype so"), "port"},
		{"no tcptype", line("H1 1 TCP 5 10.0.0.1 7 typ host"), "tcptype"},
		{"tcptype for UDP", line("H1 1 UDP 5 10.0.0.1 7 typ host tcptype so"), "tcptype"},
		{"unknown tcptype", line("H1 1 TCP 5 10.0.0.1 7 typ host tcptype x"), "tcptype"},
		{"unknown type", line("H1 1 TCP 5 10.0.0.1 7 typ lan tcptype so"), "candidate type"},
		{"SCTP", line("H1 1 SCTP 5 10.0.0.1 7 typ host"), "transport"},
		{"raddr", line("H1 1 TCP 5 10.0.0.1 7 typ srflx raddr 1.2.3.4"), "not of the form"},
		{"foundation", line("H-1 1 TCP 5 10.0.0.1 7 typ host tcptype so"), "foundation"},
		{"word with a colon", line("what:ever"), "neither a candidate"},
		{"mixed", line("H1 1 TCP 5 10.0.0.1 7 typ host tcptype so\nH1 1 UDP 5 10.0.0.1 7 typ host"), "TCP and UDP in one"},
		{"two for TCP", line("10.0.0.1:7") + line("10.0.0.1:8"), "two messages for one transport"},
		{"three", head + head + head, "a third message"},
		{"too long", strings.Repeat("x", MaxOfferText+1), "longer than"},
	} {
		o, err := ParseText([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v; want an error with %q", c.name, o, err, c.want)
		}
	}
}

// TestOfferTrimmed: what is beyond the limits goes, lowest priority first, and the rest keeps its order.
func TestOfferTrimmed(t *testing.T) {
	var b strings.Builder
	b.WriteString("abcd\n6ee5429c1203d5433f8c7155\n")
	for i := range 40 {
		fmt.Fprintf(&b, "H%d 1 TCP %d 10.0.0.%d 7 typ host tcptype passive\n", i, 100+i, i+1)
		fmt.Fprintf(&b, "R%d 1 TCP %d 10.0.1.%d 7 typ relay tcptype passive\n", i, 200-i, i+1)
	}
	o, err := ParseText([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	var hosts, relays []uint32
	for _, c := range o.Candidates {
		if c.Type == TypeHost {
			hosts = append(hosts, c.Priority)
		} else {
			relays = append(relays, c.Priority)
		}
	}
	if want := []uint32{132, 133, 134, 135, 136, 137, 138, 139}; !reflect.DeepEqual(hosts, want) {
		t.Errorf("hosts of priority %v, want %v", hosts, want)
	}
	if want := []uint32{200, 199, 198, 197}; !reflect.DeepEqual(relays, want) {
		t.Errorf("relays of priority %v, want %v", relays, want)
	}
}

func TestOfferUnmapped(t *testing.T) {
	o, err := ParseText([]byte("abcd\n6ee5429c1203d5433f8c7155\nH1 1 TCP 5 ::ffff:10.0.0.1 7 typ host tcptype so\n[::ffff:10.0.0.2]:9\n"))
	if err != nil || o.Candidates[0].Addr != ap("10.0.0.1:7") || o.Relays[0] != ap("10.0.0.2:9") {
		t.Errorf("got %+v (%v), want the IPv4 addresses", o, err)
	}
}

func TestOfferBinary(t *testing.T) {
	o := normal()
	b := o.AppendBinary(nil)
	if len(b) >= 400 {
		t.Errorf("a normal offer has %d bytes, want less than 400", len(b))
	}
	got, err := ParseBinary(b)
	if err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("got %+v (%v)\nwant %+v", got, err, o)
	}
	t.Logf("%d bytes", len(b))
}

// TestOfferBinaryFits: the largest offer within the limits is cut to the hard limit, candidates of low priority first.
func TestOfferBinaryFits(t *testing.T) {
	o := normal()
	o.Ufrag, o.Password = strings.Repeat("u", maxUfrag), strings.Repeat("p", maxPassword)
	o.UDPUfrag, o.UDPPassword = strings.Repeat("v", maxUfrag), strings.Repeat("q", maxPassword)
	o.Fingerprint = make([]byte, maxPrint)
	o.Capabilities = 1 << 63
	o.Candidates, o.Relays, o.Sources = nil, nil, nil
	for i := range MaxHosts {
		c := host(i, fmt.Sprintf("[2001:db8::%d]:1", i+1))
		c.Foundation = strings.Repeat("f", maxFoundation)
		o.Candidates = append(o.Candidates, c)
		o.Sources = append(o.Sources, c.Addr.Addr())
	}
	for i := range MaxRelays {
		o.Relays = append(o.Relays, ap(fmt.Sprintf("[2001:db8::%d]:1", i+1)))
	}
	b := o.AppendBinary(nil)
	if len(b) > MaxOfferBytes {
		t.Fatalf("%d bytes, want at most %d", len(b), MaxOfferBytes)
	}
	got, err := ParseBinary(b)
	if err != nil || len(got.Candidates) == 0 || got.Candidates[0] != o.Candidates[0] || len(got.Relays) != MaxRelays {
		t.Errorf("got %+v (%v), want the best candidates and all relays", got, err)
	}
}

func TestOfferBinaryRefused(t *testing.T) {
	valid := Offer{Ufrag: "abcd", Password: strings.Repeat("p", 22)}.AppendBinary(nil)
	with := func(record ...byte) []byte { return append(append([]byte(nil), valid...), record...) }
	at := func(i int, v byte) []byte {
		b := append([]byte(nil), valid...)
		b[i] = v
		return b
	}
	for _, c := range []struct {
		name string
		in   []byte
		want string // "" for accepted
	}{
		{"the smallest", valid, ""},
		{"empty", nil, "too short"},
		{"version 2", at(0, 2), "version 2"},
		{"policy 3", at(1, 3), "policy 3"},
		{"ufrag too long for the bytes", at(2, 200), "ufrag"},
		{"record cut in its header", with(1), "cut off"},
		{"record cut in its value", with(2, 6, 0, 1), "cut off"},
		{"unknown record", with(0x7f, 1, 2), ""},
		{"unknown critical record", with(0x80, 0), "critical"},
		{"relay of 5 bytes", with(2, 5, 0, 1, 2, 3, 4), "relay"},
		{"relay port 0", with(2, 6, 0, 0, 10, 0, 0, 1), "port 0"},
		{"source 0.0.0.0", with(3, 4, 0, 0, 0, 0), "unspecified"},
		{"capabilities with a zero", with(4, 2, 0, 1), "leading"},
		{"capabilities twice", with(4, 1, 1, 4, 1, 1), "capabilities"},
		{"fingerprint of 31", with(append([]byte{5, 31}, make([]byte, 31)...)...), "fingerprint"},
		{"UDP credentials cut", with(6, 2, 4, 'a'), "UDP"},
		{"candidate too short", with(1, 12, 4, 0, 0, 0, 0, 1, 0, 1, 10, 0, 0, 1), "candidate"},
		{"candidate", with(1, 13, 0x10, 0, 0, 0, 0, 1, 0, 1, 10, 0, 0, 1, 'f'), ""},
		{"candidate, active", with(1, 13, 0x30, 0, 0, 0, 0, 1, 0, 1, 10, 0, 0, 1, 'f'), "kind"},
		{"candidate, UDP with tcptype", with(1, 13, 0x12, 0, 0, 0, 0, 1, 0, 1, 10, 0, 0, 1, 'f'), "kind"},
		{"too long", append(valid, make([]byte, MaxOfferBytes)...), "longer"},
	} {
		_, err := ParseBinary(c.in)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzOfferText(f *testing.F) {
	f.Add(string(normal().AppendText(nil)))
	f.Add("abcd\n6ee5429c1203d5433f8c7155\n10.0.0.1:7\nefgh\n6ee5429c1203d5433f8c7155\nH1 1 UDP 5 ::1 7 typ prflx\n")
	f.Add("abcd\r\n6ee5429c1203d5433f8c7155\r\nS 256 TCP 0 1.2.3.4 9 typ srflx tcptype active\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseText([]byte(text))
		if err != nil {
			return
		}
		printed := o.AppendText(nil)
		again, err := ParseText(printed)
		if err != nil || !reflect.DeepEqual(again, o) {
			t.Fatalf("%q\nparsed  %+v\nprinted %q\nparsed  %+v (%v)", text, o, printed, again, err)
		}
		if b := o.AppendBinary(nil); len(b) > MaxOfferBytes {
			t.Fatalf("%d bytes of binary", len(b))
		} else if _, err := ParseBinary(b); err != nil {
			t.Fatalf("binary of a text offer: %v", err)
		}
	})
}

func FuzzOfferBinary(f *testing.F) {
	f.Add(normal().AppendBinary(nil))
	o := normal()
	o.UDPUfrag, o.UDPPassword, o.Fingerprint = "efgh", o.Password, make([]byte, 32)
	o.Candidates[0].TCP, o.Candidates[0].TCPType = false, ""
	f.Add(o.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseBinary(b)
		if err != nil {
			return
		}
		again, err := ParseBinary(o.AppendBinary(nil))
		if err != nil || !reflect.DeepEqual(again, o) {
			t.Fatalf("%x\nparsed %+v\nagain  %+v (%v)", b, o, again, err)
		}
	})
}
