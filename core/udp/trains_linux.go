package udp

import (
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trains says whether the kernel cuts and joins trains: it is asked once, with a train of two over loopback.
func trains() bool {
	trainsOnce.Do(func() {
		for _, ip := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			if c, err := open(netip.AddrPortFrom(ip, 0), Options{}, false); err == nil {
				haveTrains = c.probe()
				c.Close()
				return
			}
		}
	})
	return haveTrains
}

var (
	trainsOnce sync.Once // sets haveTrains
	haveTrains bool
)

// probePatience is how long a datagram may take over loopback, in milliseconds.
const probePatience = 500

// probe sends a train to the socket itself.
func (c *Conn) probe() bool {
	var b sendVectors
	data := [...]byte{1, 2, 3}
	b.iovs[0].Base = &data[0]
	b.iovs[0].SetLen(len(data))
	h := &b.hdrs[0].hdr
	h.Iov = &b.iovs[0]
	h.SetIovlen(1)
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[0])), setName(&b.names[0], c.local)
	head := (*unix.Cmsghdr)(unsafe.Pointer(&b.controls[0]))
	head.Level, head.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	head.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Add(unsafe.Pointer(head), unix.CmsgLen(0))) = 2
	h.Control = (*byte)(unsafe.Pointer(head))
	h.SetControllen(unix.CmsgSpace(2))
	if _, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT); errno != 0 {
		return false
	}
	for _, want := range []int{2, 1} {
		var got [4]byte
		readable := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(readable, probePatience) // when it fails there is nothing to read
		if n, err := unix.Read(c.fd, got[:]); err != nil || n != want {
			return false
		}
	}
	return true
}
