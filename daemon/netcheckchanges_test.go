package daemon

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// What differs between two checks is told, by its name, and nothing else: no round trips, no ports of sockets.
func TestNetcheckSince(t *testing.T) {
	base := func() Netcheck {
		return Netcheck{
			UDP:    []NetcheckNAT{{Family: "ipv4", Mapping: "endpoint-independent", Filtering: "unknown", Mapped: "192.0.2.7:4001", Answered: 2}},
			TCP:    NetcheckTCP{Known: true},
			DHT:    DHTStatus{Mode: "mainline", Nodes: 50},
			Relays: []NetcheckRelay{{URL: "turn:a", Address: "192.0.2.1:3478", TCP: true, UDP: true, SetUp: time.Millisecond, RTT: time.Millisecond}},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Netcheck)
		want   []NetcheckChange
	}{
		{"nothing", func(*Netcheck) {}, nil},
		{"what differs each time", func(n *Netcheck) {
			n.UDP[0].Mapped, n.UDP[0].Answered, n.Relays[0].RTT, n.Relays[0].SetUp, n.DHT.Nodes = "192.0.2.7:9", 1, 9, 9, 49
		}, nil},
		{"another network", func(n *Netcheck) { n.UDP[0].Mapped, n.UDP[0].Mapping = "198.51.100.2:5", "address-dependent" }, []NetcheckChange{
			{"udp ipv4 mapping", "endpoint-independent", "address-dependent"}, {"udp ipv4 seen as", "192.0.2.7", "198.51.100.2"},
		}},
		{"a relay dies", func(n *Netcheck) { n.Relays[0].TCP, n.Relays[0].Error = false, "refused" }, []NetcheckChange{
			{"relay turn:a 192.0.2.1:3478 tcp", "answers", "refused"},
		}},
		{"a warning comes", func(n *Netcheck) { n.Warnings = []NetcheckWarning{{What: "UDP is blocked"}} }, []NetcheckChange{{"warning UDP is blocked", "", "yes"}}},
		{"a family goes", func(n *Netcheck) { n.UDP = nil }, []NetcheckChange{
			{"udp ipv4 answers", "yes", ""}, {"udp ipv4 filtering", "unknown", ""}, {"udp ipv4 mapping", "endpoint-independent", ""}, {"udp ipv4 seen as", "192.0.2.7", ""},
		}},
		{"TCP is filtered, the DHT gone", func(n *Netcheck) { n.TCP.Filtered, n.DHT.Nodes = true, 0 }, []NetcheckChange{
			{"dht", "nodes known", "no node known"}, {"tcp", "nothing stands in the way", "leaves only to some ports"},
		}},
	} {
		now := base()
		c.change(&now)
		if got := now.Since(base()).Changes; !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	now := base()
	now.DHT.Nodes = 0
	want := []NetcheckChange{{"node", "no answer", "up"}, {"dht", "nodes known", "no node known"}}
	if got := now.Back(base()).Changes; !slices.Equal(got, want) {
		t.Errorf("back: got %+v, want %+v", got, want)
	}
	if got := NetcheckGone(now.Time, errors.New("a\nb")).Changes; !slices.Equal(got, []NetcheckChange{{"node", "up", "no answer: a; b"}}) {
		t.Errorf("gone: got %+v", got)
	}
}
