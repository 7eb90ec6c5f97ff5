package udp

import (
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlLen has room for a packet info (a header of 16 bytes and 20, aligned: 40), a traffic class and a segment length (24
// each).
const controlLen = 88

// control is aligned as the kernel wants control messages.
type control [controlLen / 8]uint64

// mmsghdr is struct mmsghdr of recvmmsg(2); Go's alignment gives it the padding that C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// bigTouch is how many bytes a batch brings at most before the next one takes fewer messages: trains fill the slots, and
// what does not stay in the cache between receiving and sending costs more than it saves.
const bigTouch = 256 << 10

// recvVectors is what recvmmsg fills.
type recvVectors struct {
	hdrs     [BatchLen]mmsghdr
	iovs     [BatchLen]unix.Iovec
	names    [BatchLen]unix.RawSockaddrInet6 // large enough for IPv4 too
	controls [BatchLen]control
	touched  int // bytes in the batch
	limit    int // messages that it takes
	errs     errVectors
}

// errVectors is what an error queue's message is read into.
type errVectors struct {
	hdr     unix.Msghdr
	name    unix.RawSockaddrInet6
	control [32]uint64 // an extended error with its offender, 64 bytes, and what controlLen has
}

// NewRecvBatch returns an empty batch for up to BatchLen messages: 4 MiB of address space, of which is used what was
// touched.
func NewRecvBatch(stats *Stats) *RecvBatch {
	b := &RecvBatch{stats: stats, buf: make([]byte, BatchLen*stride), packets: make([]packet, 0, 4*BatchLen)}
	b.limit = BatchLen
	for i := range b.hdrs {
		b.iovs[i].Base = &b.slot(i)[0]
		b.iovs[i].SetLen(MaxPacket)
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
		b.renew(i)
	}
	return b
}

// renew undoes what recvmmsg wrote: it wants to be told the sizes every time.
func (b *RecvBatch) renew(i int) {
	b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	b.hdrs[i].hdr.SetControllen(controlLen)
}

func (b *RecvBatch) reset() {
	for i := range b.n {
		b.renew(i)
	}
	b.limit = BatchLen
	if b.touched > bigTouch {
		b.limit = BatchLen / 4
	}
	b.touched = 0
}

// Recv adds what waits at the socket to the batch, up to limit messages, and returns how many there were; 0 when nothing
// waits. It never waits itself. The error is net.ErrClosed, or that of a socket that is broken. One goroutine at a time.
func (c *Conn) Recv(b *RecvBatch, limit int) (int, error) {
	limit = min(limit, b.limit-b.n)
	if limit <= 0 {
		return 0, nil
	}
	if !c.use() {
		return 0, net.ErrClosed
	}
	defer c.done()
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&b.hdrs[b.n])), uintptr(limit), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			c.failures = 0
			b.take(int(n))
			return int(n), nil
		case unix.EAGAIN:
			c.failures = 0 // it works: those were about what was sent
			return 0, nil
		case unix.EINTR:
		default:
			if err := c.failed(errno); err != nil {
				return 0, err
			}
		}
	}
}

// take notes n more messages.
func (b *RecvBatch) take(n int) {
	before := len(b.packets)
	for i := b.n; i < b.n+n; i++ {
		size, segment := int(b.hdrs[i].n), 0
		if data := b.find(i, unix.IPPROTO_UDP, unix.UDP_GRO, 4); data != nil {
			segment = int(*(*int32)(data))
		}
		b.split(i, size, segment)
		b.touched += size
	}
	b.n += n
	b.stats.RecvCalls.Add(1)
	b.stats.Received.Add(uint64(len(b.packets) - before))
}

// find returns the data of a control message of slot i that has at least size bytes of it; nil: there is none.
func (b *RecvBatch) find(i int, level, kind int32, size int) unsafe.Pointer {
	return findControl(unsafe.Pointer(&b.controls[i]), int(b.hdrs[i].hdr.Controllen), level, kind, size)
}

func findControl(base unsafe.Pointer, length int, level, kind int32, size int) unsafe.Pointer {
	for off := 0; off+unix.SizeofCmsghdr <= length; {
		head := (*unix.Cmsghdr)(unsafe.Add(base, off))
		if head.Level == level && head.Type == kind && int(head.Len) >= unix.CmsgLen(size) {
			return unsafe.Add(base, off+unix.CmsgLen(0))
		}
		if int(head.Len) < unix.SizeofCmsghdr {
			return nil
		}
		off += unix.CmsgSpace(int(head.Len) - unix.CmsgLen(0))
	}
	return nil
}

func (b *RecvBatch) from(i int) netip.AddrPort { return addrPort(&b.names[i]) }

// addrPort reads a socket address of either family.
func addrPort(name *unix.RawSockaddrInet6) netip.AddrPort {
	port := netPort(name.Port)
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port)
	}
	addr := netip.AddrFrom16(name.Addr)
	if name.Scope_id != 0 {
		addr = addr.WithZone(strconv.Itoa(int(name.Scope_id)))
	}
	return netip.AddrPortFrom(addr, port)
}

// netPort swaps a port between the network's order and ours.
func netPort(port uint16) uint16 {
	if bigEndian {
		return port
	}
	return port<<8 | port>>8
}

func (b *RecvBatch) to(i int) netip.Addr {
	if b.hdrs[i].hdr.Controllen == 0 {
		return netip.Addr{}
	}
	if data := b.find(i, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo); data != nil {
		return netip.AddrFrom4((*unix.Inet4Pktinfo)(data).Addr)
	}
	if data := b.find(i, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo); data != nil {
		return netip.AddrFrom16((*unix.Inet6Pktinfo)(data).Addr)
	}
	return netip.Addr{}
}

func (b *RecvBatch) tos(i int) uint8 {
	if data := b.find(i, unix.IPPROTO_IP, unix.IP_TOS, 1); data != nil {
		return *(*uint8)(data)
	}
	if data := b.find(i, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4); data != nil {
		return uint8(*(*int32)(data))
	}
	return 0
}

// NextError returns what came back for an earlier datagram, by ICMP or, for one that must not be cut, from this machine;
// false when there is no more. The batch lends its memory and keeps its datagrams. One goroutine at a time.
func (c *Conn) NextError(b *RecvBatch) (ICMPError, bool) {
	if !c.use() {
		return ICMPError{}, false
	}
	defer c.done()
	e := &b.errs
	for {
		e.hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&e.name)), Namelen: unix.SizeofSockaddrInet6, Control: (*byte)(unsafe.Pointer(&e.control))}
		e.hdr.SetControllen(len(e.control) * 8)
		_, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&e.hdr)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return ICMPError{}, false
		}
		if icmp, ok := e.read(); ok {
			return icmp, true
		}
	}
}

func (e *errVectors) read() (ICMPError, bool) {
	base, length := unsafe.Pointer(&e.control), int(e.hdr.Controllen)
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	data := findControl(base, length, unix.IPPROTO_IP, unix.IP_RECVERR, size)
	if data == nil {
		data = findControl(base, length, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, size)
	}
	if data == nil || e.hdr.Namelen == 0 {
		return ICMPError{}, false
	}
	ext := (*unix.SockExtendedErr)(data)
	icmp := ICMPError{Peer: addrPort(&e.name), Type: ext.Type, Code: ext.Code}
	is4 := icmp.Peer.Addr().Is4()
	switch ext.Origin {
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
	case unix.SO_EE_ORIGIN_LOCAL:
		if unix.Errno(ext.Errno) != unix.EMSGSIZE {
			return ICMPError{}, false
		}
		icmp.Type, icmp.Code = 3, 4
		if !is4 {
			icmp.Type, icmp.Code = 2, 0
		}
	default:
		return ICMPError{}, false
	}
	if is4 && icmp.Type == 3 && icmp.Code == 4 || !is4 && icmp.Type == 2 {
		icmp.MTU = ext.Info
	}
	return icmp, true
}

// bigEndian tells the byte order of this machine, which is that of the kernel's structures.
var bigEndian = *(*byte)(unsafe.Pointer(&[]uint16{1}[0])) == 0
