package ktls

import (
	"net"
	"sync"
)

// Available tells whether the kernel can. The first call tries it, on a connection to ourselves over loopback; later
// ones remember.
func Available() bool {
	probeOnce.Do(func() {
		result := int32(probedNo)
		if probe() == nil {
			result = probedYes
		}
		probed.Store(result)
	})
	return probed.Load() == probedYes
}

var probeOnce sync.Once

// probe gives a socket keys for both directions.
func probe() error {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		if ln, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv6loopback}); err != nil {
			return err
		}
	}
	defer ln.Close()
	// The kernel completes the connection without an Accept, and a socket on its way is enough for the one tried.
	c, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var tried error
	err = raw.Control(func(fd uintptr) { _, tried = setKeys(int(fd), trafficKeys{}, trafficKeys{}, 0, 0) })
	if err != nil {
		return err
	}
	return tried
}
