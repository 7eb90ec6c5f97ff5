package mux

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gauge asks the kernel for the flight of a link's stream.
type gauge struct{ raw syscall.RawConn }

// gaugeOf returns the gauge of a link over TCP, such as a tls.Link, and nil for others.
func gaugeOf(rwc any) *gauge {
	under, ok := rwc.(interface{ NetConn() net.Conn })
	if !ok {
		return nil
	}
	tcp, ok := under.NetConn().(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &gauge{raw}
}

// read returns the flight, and false when the kernel does not say.
func (g *gauge) read() (f flight, ok bool) {
	if g == nil {
		return f, false
	}
	_ = g.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.Min_rtt == 0 || info.Min_rtt == ^uint32(0) {
			return
		}
		ahead, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) // by sequence numbers: what a full queue here drops is counted as sent twice elsewhere
		if err != nil {
			return
		}
		f = flight{
			acked:  info.Bytes_acked,
			ahead:  ahead,
			rtt:    time.Duration(info.Rtt) * time.Microsecond,
			minRTT: time.Duration(info.Min_rtt) * time.Microsecond,
		}
		ok = true
	})
	return f, ok
}
