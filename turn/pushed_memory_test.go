package turn

import (
	"net"
	"runtime"
	"testing"
)

// pushMemory is what docs/protocol/push.md section 4 allows a registered connection at the relay, in bytes of heap and stacks.
const pushMemory = 40 << 10

// TestPushMemory: what a registered connection takes at the relay. The devices' ends are bare sockets by then: what is measured is the server's.
func TestPushMemory(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Push = true })
	const n = 60 // of the 64 processes that one user may have
	used := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := used()
	var raw []net.Conn
	for i := range n {
		c := dialPush(t, s.TCPAddrs()[0])
		c.registerAs(s.config.Realm, byte(i))
		raw = append(raw, c.NetConn())
	}
	waitFor(t, "all registrations", func() bool { return s.Stats().Push.Registrations == n })
	each := (used() - before) / n
	t.Logf("measured: %d bytes a registered connection", each)
	if each > pushMemory {
		t.Errorf("%d bytes a registered connection, want %d at most", each, pushMemory)
	}
	for _, c := range raw {
		c.Close()
	}
	waitFor(t, "their end", func() bool { return s.Stats().Push.Registrations == 0 })
}
