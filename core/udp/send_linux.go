package udp

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendVectors is what sendmmsg reads.
type sendVectors struct {
	hdrs     [BatchLen]mmsghdr
	messages [BatchLen]message
	iovs     [maxParts]unix.Iovec
	names    [BatchLen]unix.RawSockaddrInet6
	controls [BatchLen]control
	single   [TrainLen]mmsghdr // a train's datagrams, where it has to be sent one by one
	drops    Drops
	plain    bool // no trains
}

// message is a datagram, or a train of them.
type message struct {
	route    Route
	first    int // part
	width    int // parts of each datagram
	segment  int // length of each datagram but the last
	total    int
	count    int
	complete bool // nothing can follow
}

// NewSendBatch returns an empty batch for up to BatchLen messages.
func NewSendBatch(stats *Stats) *SendBatch {
	b := &SendBatch{stats: stats}
	b.plain = !trains()
	return b
}

// add expects room.
func (b *SendBatch) add(route Route, head, body, tail []byte) {
	first, size := b.parts, len(head)+len(body)+len(tail)
	for _, part := range [...][]byte{head, body, tail} {
		if len(part) > 0 {
			b.iovs[b.parts].Base = unsafe.SliceData(part)
			b.iovs[b.parts].SetLen(len(part))
			b.parts++
		}
	}
	width := b.parts - first
	if b.n > 0 && b.join(&b.messages[b.n-1], &route, size, width) {
		return
	}
	b.messages[b.n] = message{route: route, first: first, width: width, segment: size, total: size, count: 1, complete: b.plain || size == 0}
	h := &b.hdrs[b.n].hdr
	h.Iov = &b.iovs[min(first, maxParts-1)] // an empty datagram has no part, and the vector is not looked at
	h.SetIovlen(width)
	h.Name = (*byte)(unsafe.Pointer(&b.names[b.n]))
	h.Namelen = setName(&b.names[b.n], route.To)
	h.Control, h.Controllen = nil, 0
	if route.From.IsValid() {
		b.setSource(b.n, route.From)
	}
	if route.TOS != 0 {
		b.setTOS(b.n, route)
	}
	b.n++
}

// join appends a datagram to the last message, where it has the same way and is no longer than those before it.
func (b *SendBatch) join(m *message, route *Route, size, width int) bool {
	if m.complete || size == 0 || size > m.segment || width != m.width || m.count == TrainLen || m.total+size > TrainBytes || m.route != *route {
		return false
	}
	m.count++
	m.total += size
	m.complete = size < m.segment
	b.hdrs[b.n-1].hdr.SetIovlen(m.count * width)
	return true
}

func setName(name *unix.RawSockaddrInet6, to netip.AddrPort) uint32 {
	if to.Addr().Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(name)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: netPort(to.Port()), Addr: to.Addr().As4()}
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: netPort(to.Port()), Addr: to.Addr().As16(), Scope_id: zoneID(to.Addr().Zone())}
	return unix.SizeofSockaddrInet6
}

// addControl appends a control message to message i and returns where its data of size bytes belongs.
func (b *SendBatch) addControl(i int, level, kind int32, size int) unsafe.Pointer {
	h := &b.hdrs[i].hdr
	off := int(h.Controllen)
	head := (*unix.Cmsghdr)(unsafe.Add(unsafe.Pointer(&b.controls[i]), off))
	head.Level, head.Type = level, kind
	head.SetLen(unix.CmsgLen(size))
	h.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
	h.SetControllen(off + unix.CmsgSpace(size))
	return unsafe.Add(unsafe.Pointer(head), unix.CmsgLen(0))
}

// setSource asks for a source address, which only a socket on an unspecified address needs.
func (b *SendBatch) setSource(i int, from netip.Addr) {
	if from.Is4() {
		data := b.addControl(i, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		*(*unix.Inet4Pktinfo)(data) = unix.Inet4Pktinfo{Spec_dst: from.As4()}
		return
	}
	data := b.addControl(i, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	*(*unix.Inet6Pktinfo)(data) = unix.Inet6Pktinfo{Addr: from.As16()}
}

func (b *SendBatch) setTOS(i int, route Route) {
	if route.To.Addr().Is4() {
		*(*int32)(b.addControl(i, unix.IPPROTO_IP, unix.IP_TOS, 4)) = int32(route.TOS)
		return
	}
	*(*int32)(b.addControl(i, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4)) = int32(route.TOS)
}

// Send gives the batch to the kernel, empties it, and returns how many datagrams were dropped. It never waits. Safe for
// concurrent use with different batches.
func (c *Conn) Send(b *SendBatch) Drops {
	if b.n == 0 {
		return Drops{}
	}
	b.drops = Drops{}
	if c.use() {
		if c.peer.IsValid() {
			b.unname()
		}
		b.send(uintptr(c.fd))
		c.done()
	} else {
		b.drops.Refused = b.packets
	}
	b.n, b.packets, b.parts, b.used = 0, 0, 0, 0
	return b.drops
}

// unname leaves the addresses out: a connected socket has its own, and looks the way up anew for any other.
func (b *SendBatch) unname() {
	for i := range b.n {
		h := &b.hdrs[i].hdr
		h.Name, h.Namelen = nil, 0
	}
}

func (b *SendBatch) send(fd uintptr) {
	for i := range b.n {
		if m := &b.messages[i]; m.count > 1 {
			*(*uint16)(b.addControl(i, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)) = uint16(m.segment)
			b.stats.TrainsOut.Add(1)
		}
	}
	again := false // the first message was refused once
	for done := 0; done < b.n; {
		n, errno := b.sendmmsg(fd, &b.hdrs[done], b.n-done)
		m := &b.messages[done]
		switch {
		case errno == 0:
			done, again = done+n, false
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			for ; done < b.n; done++ {
				b.drops.Full += b.messages[done].count
			}
		case m.count > 1 && (errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE):
			b.stats.Fallbacks.Add(1)
			b.oneByOne(fd, done)
			done, again = done+1, false
		case !again: // perhaps it was about an earlier datagram, to another peer
			again = true
		default:
			b.refused(errno, m.count)
			done, again = done+1, false
		}
	}
	b.stats.Sent.Add(uint64(b.packets - b.drops.Total()))
}

// sendmmsg returns how many messages were taken, or why the first was not.
func (b *SendBatch) sendmmsg(fd uintptr, first *mmsghdr, n int) (int, syscall.Errno) {
	b.stats.SendCalls.Add(1)
	// MSG_DONTWAIT: the call cannot block, so the scheduler need not know of it.
	if h := &first.hdr; n == 1 && h.Iovlen == 1 && h.Controllen == 0 { // which spares the kernel three structures
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(h.Iov.Base)), uintptr(h.Iov.Len), unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(h.Name)), uintptr(h.Namelen))
		return 1, errno
	}
	done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(first)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	return int(done), errno
}

func (b *SendBatch) refused(errno syscall.Errno, count int) {
	switch errno {
	case unix.EMSGSIZE:
		b.drops.TooBig += count
	case unix.EAGAIN, unix.ENOBUFS:
		b.drops.Full += count
	default:
		b.drops.Refused += count
	}
}

// oneByOne sends the datagrams of a train without that.
func (b *SendBatch) oneByOne(fd uintptr, i int) {
	m, h := &b.messages[i], b.hdrs[i].hdr
	h.SetControllen(int(h.Controllen) - unix.CmsgSpace(2)) // the segment length is the last one
	if h.Controllen == 0 {
		h.Control = nil
	}
	for k := range m.count {
		h.Iov = &b.iovs[m.first+k*m.width]
		h.SetIovlen(m.width)
		b.single[k].hdr = h
	}
	again := false
	for done := 0; done < m.count; {
		n, errno := b.sendmmsg(fd, &b.single[done], m.count-done)
		switch {
		case errno == 0:
			done, again = done+n, false
		case errno == unix.EINTR:
		case !again && errno != unix.EAGAIN:
			again = true
		default:
			b.refused(errno, 1)
			done, again = done+1, false
		}
	}
}
