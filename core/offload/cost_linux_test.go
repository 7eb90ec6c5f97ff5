//go:build amd64 || arm64

package offload

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestCost says what a packet costs in the program itself, as the kernel measures it, and counts every one of them. The way
// in and out of the interfaces comes on top. It judges nothing by time.
func TestCost(t *testing.T) {
	l := newLab(t, Config{})
	if l == nil {
		return
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Skipf("MISSING: statistics of programs: %v", err)
	}
	defer stats.Close()
	const packets, size = 20_000, 100
	for _, f := range []struct {
		name string
		flow Flow
	}{{"IPv4", flow4}, {"IPv6", flow6}} {
		client, peer := socket(t, l.client, net.UDPAddrFromAddrPort(f.flow.Client)), socket(t, l.peer, net.UDPAddrFromAddrPort(f.flow.Peer))
		h := l.insert(t, f.flow)
		for _, way := range []struct {
			name string
			from *net.UDPConn
			to   string
			data []byte
		}{
			{"up", client, f.flow.Server.String(), channelData(f.flow.Channel, make([]byte, size))},
			{"down", peer, f.flow.Relayed.String(), make([]byte, size)},
		} {
			l.relay.Renew(h, MaxLease)
			before, err := l.relay.objs.Relay.Stats()
			if err != nil {
				t.Fatal(err)
			}
			counted := l.relay.Counts(h)
			for range packets {
				if _, err := way.from.WriteToUDPAddrPort(way.data, at(way.to)); err != nil {
					t.Fatal(err)
				}
			}
			after, err := l.relay.objs.Relay.Stats()
			if err != nil {
				t.Fatal(err)
			}
			now := l.relay.Counts(h)
			if got := now.Up.Packets + now.Down.Packets - counted.Up.Packets - counted.Down.Packets; got != packets {
				t.Errorf("%s %s: relayed %d of %d; left: %v", f.name, way.name, got, packets, l.relay.Stats().Left)
			}
			t.Logf("%s %s: %.0f ns a packet in the program", f.name, way.name,
				float64(after.Runtime-before.Runtime)/float64(after.RunCount-before.RunCount))
		}
	}
}
