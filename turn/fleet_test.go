package turn

import (
	"net"
	"testing"

	"traverse.internal/core/stun"
)

// TestFleet: a client that was challenged by one server is served by another with the same key at once, and by one
// without it after another challenge.
func TestFleet(t *testing.T) {
	with := func(keys ...string) *Server { return startServer(t, func(c *Config) { c.FleetKeys = keys }) }
	first, same, other := with("key of the fleet"), with("key of the fleet"), with()
	challenged := dialUDP(t, first).login()
	move := func(to *Server) *testClient {
		t.Helper()
		at := challenged.conn.LocalAddr().(*net.UDPAddr)
		challenged.conn.Close() // the nonce is good for this address and port
		conn, err := net.DialUDP("udp", at, net.UDPAddrFromAddrPort(to.UDPAddrs()[0]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := *challenged
		c.conn = conn
		challenged = &c
		return &c
	}
	nonce := challenged.nonce
	if got := move(same).code(stun.MethodAllocate, wantUDP); got != 0 {
		t.Errorf("another server of the fleet: got %v", got)
	}
	moved := move(other)
	moved.nonce = nonce
	if got := moved.code(stun.MethodAllocate, wantUDP); got != stun.CodeStaleNonce {
		t.Errorf("a server that is not of the fleet: got %v, want 438", got)
	}
	if got := moved.code(stun.MethodAllocate, wantUDP); got != 0 {
		t.Errorf("and then: got %v", got)
	}
}
