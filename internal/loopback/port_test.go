package loopback

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
)

// A port that was given out is given to nobody else, although nobody listens there yet.
func TestPortsStayTheirs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is nothing to claim a port with here")
	}
	port, release, err := Reserve(IP4)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := claim(port); ok {
		t.Error("claimed twice")
	}
	release()
	again, ok := claim(port)
	if !ok {
		t.Fatal("not given back")
	}
	again()
}

func TestFreePort(t *testing.T) {
	port := FreePort(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(IP4, port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if free(port, []netip.Addr{IP4}) {
		t.Error("free while somebody listens")
	}
}
