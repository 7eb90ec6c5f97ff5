//go:build amd64 || arm64

package turn

import (
	"testing"
	"time"
)

// TestOffloadStopsWithinASecond under a flow that does not pause: what the kernel has relayed a second after the order is all that
// it ever relays. A quota does not end a flow: there it is no more than the rate allows, of all that is sent.
func TestOffloadStopsWithinASecond(t *testing.T) {
	const rate, size = 1 << 16, 1000
	for _, c := range []struct {
		name   string
		change func(*Config)
		order  func(*testing.T, *offloadedChannel)
		rate   float64 // packets a second that may pass afterwards
	}{
		{"a tightened rule", nil, func(t *testing.T, c *offloadedChannel) {
			if _, err := c.server.Reload(configOf(c.server, func(c *Config) { c.DenyPeers = prefixes("10.2.0.2/32") })); err != nil {
				t.Error(err)
			}
		}, 0},
		{"a killed session", nil, func(t *testing.T, c *offloadedChannel) {
			if !c.server.Kill(c.session().ID) {
				t.Error("there is no session")
			}
		}, 0},
		{"a quota that is reached", func(c *Config) { c.Limits.UserRate = rate }, nil, float64(rate) / size},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newKernelLab(t, c.change)
			if l == nil {
				return
			}
			flow := l.channel(t, false)
			frame := exact(0x4000, make([]byte, size))
			var sent int
			flood := func(until func() bool) {
				for end := time.Now().Add(patience); !until(); sent++ {
					if time.Now().After(end) {
						t.Fatalf("waited in vain; %d packets in the kernel, drops %v", l.kernelPackets(), l.server.Stats().Drops)
					}
					flow.client.send(frame)
				}
			}
			flood(func() bool { return l.kernelPackets() > 20 })
			began := time.Now()
			ordered := make(chan struct{})
			go func() { // beside the flow
				defer close(ordered)
				if c.order != nil {
					c.order(t, flow)
				}
			}()
			flood(func() bool { return time.Since(began) > time.Second })
			at, before, sentBefore := time.Now(), l.kernelPackets(), sent
			flood(func() bool { return sent >= sentBefore+2000 })
			flood(func() bool { return time.Since(at) > 100*time.Millisecond })
			most := uint64(0)
			if c.rate > 0 {
				most = uint64(c.rate * (time.Since(at).Seconds() + 1)) // with what may be saved up, a second's worth
			}
			if got := l.kernelPackets() - before; got > most {
				t.Errorf("of %d packets that were sent more than a second later, the kernel relayed %d, want %d at most", sent-sentBefore, got, most)
			}
			<-ordered
		})
	}
}
