package udp

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// TestTowardCost compares, over a cable and in short turns, what a datagram costs by a relayed socket and by one that is
// connected, with a thousand of each. It judges nothing by time.
func TestTowardCost(t *testing.T) {
	if !netlab.Alone(t) {
		return
	}
	h := netlab.NewHost(t)
	h.Cable(t, "cable", []string{"10.1.0.1/24", "fd01::1/64"}, []string{"10.1.0.2/24", "fd01::2/64"})
	h.Run(t, "sh", "-c", "nft -f - <<X\ntable netdev x {\n chain door {\n type filter hook ingress device \"eth0\" priority 0\n meta l4proto udp drop\n }\n}\nX")
	const flows, size, turns = 1000, 100, 60
	options := Options{RecvBuffer: 1 << 20, SendBuffer: 1 << 20, Trains: true, TOS: true, Errors: true, Fragment: true}
	for _, ends := range [][2]string{{"10.1.0.1", "10.1.0.2"}, {"fd01::1", "fd01::2"}} {
		from, to := netip.MustParseAddr(ends[0]), netip.AddrPortFrom(netip.MustParseAddr(ends[1]), 9999)
		var sockets [2][flows]*Conn
		for i := range flows {
			c, err := Listen(netip.AddrPortFrom(from, 0), options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			d, err := c.Toward(to, options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			sockets[0][i], sockets[1][i] = c, d
		}
		var stats Stats
		out := NewSendBatch(&stats)
		data := make([]byte, size)
		var best [2]time.Duration
		for turn := range turns {
			for kind := range sockets {
				before := threadTime()
				for _, c := range sockets[kind] {
					out.Add(data, Route{To: to})
					if drops := c.Send(out); drops.Total() != 0 {
						t.Fatalf("dropped %+v", drops)
					}
				}
				if d := threadTime() - before; turn == 0 || d < best[kind] {
					best[kind] = d
				}
			}
		}
		t.Logf("%v: %v a datagram by its own socket, %v by a connected one", from, best[0]/flows, best[1]/flows)
	}
}

// threadTime is this process's; nobody else works in it.
func threadTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
