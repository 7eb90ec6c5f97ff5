package udp

import (
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlLen has room for one in6_pktinfo: a header of 16 and 20 bytes, aligned.
const controlLen = 40

// control is aligned as the kernel wants control messages.
type control [controlLen / 8]uint64

// recvVectors is what recvmmsg fills.
type recvVectors struct {
	hdrs     [BatchLen]mmsghdr
	iovs     [BatchLen]unix.Iovec
	names    [BatchLen]unix.RawSockaddrInet6 // large enough for IPv4 too
	controls [BatchLen]control
}

func newRecvBatch() *RecvBatch {
	b := &RecvBatch{buf: make([]byte, BatchLen*stride)}
	for i := range b.hdrs {
		b.iovs[i].Base = &b.slot(i)[0]
		b.iovs[i].SetLen(MaxPacket)
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
	}
	return b
}

// reset undoes what the last call wrote: recvmmsg wants to be told the sizes every time.
func (b *RecvBatch) reset() {
	for i := range b.hdrs {
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.hdrs[i].hdr.SetControllen(controlLen)
	}
}

func (b *RecvBatch) size(i int) int { return int(b.hdrs[i].n) }

// From returns who sent the i-th datagram.
func (b *RecvBatch) From(i int) netip.AddrPort {
	name := &b.names[i]
	port := name.Port<<8 | name.Port>>8 // network order in a little-endian field
	if bigEndian {
		port = name.Port
	}
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port)
	}
	addr := netip.AddrFrom16(name.Addr)
	if name.Scope_id != 0 {
		addr = addr.WithZone(strconv.Itoa(int(name.Scope_id)))
	}
	return netip.AddrPortFrom(addr, port)
}

// To returns at which address the i-th datagram arrived, or the zero Addr when the socket has only one.
func (b *RecvBatch) To(i int) netip.Addr {
	length := int(b.hdrs[i].hdr.Controllen)
	if length < unix.SizeofCmsghdr {
		return netip.Addr{}
	}
	head := (*unix.Cmsghdr)(unsafe.Pointer(&b.controls[i]))
	data := unsafe.Add(unsafe.Pointer(head), unix.CmsgLen(0))
	switch {
	case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_PKTINFO && length >= unix.CmsgLen(unix.SizeofInet4Pktinfo):
		return netip.AddrFrom4((*unix.Inet4Pktinfo)(data).Addr)
	case head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_PKTINFO && length >= unix.CmsgLen(unix.SizeofInet6Pktinfo):
		return netip.AddrFrom16((*unix.Inet6Pktinfo)(data).Addr)
	}
	return netip.Addr{}
}

// sendVectors is what sendmmsg reads.
type sendVectors struct {
	hdrs     [BatchLen]mmsghdr
	iovs     [BatchLen]unix.Iovec
	names    [BatchLen]unix.RawSockaddrInet6
	controls [BatchLen]control
	dropped  int
	try      func(fd uintptr) // bound once
}

// NewSendBatch returns an empty batch for up to BatchLen datagrams.
func NewSendBatch() *SendBatch {
	b := new(SendBatch)
	for i := range b.hdrs {
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	b.try = b.trySend
	return b
}

func (b *SendBatch) set(i int, packet []byte, to netip.AddrPort, from netip.Addr) {
	b.iovs[i].Base = unsafe.SliceData(packet) // an empty datagram has length 0, and the base is not looked at
	b.iovs[i].SetLen(len(packet))
	b.hdrs[i].hdr.Namelen = b.setName(i, to)
	b.setSource(i, from)
}

func (b *SendBatch) setName(i int, to netip.AddrPort) uint32 {
	port := to.Port()<<8 | to.Port()>>8
	if bigEndian {
		port = to.Port()
	}
	if to.Addr().Is4() {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&b.names[i]))
		*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: to.Addr().As4()}
		return unix.SizeofSockaddrInet4
	}
	b.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		index, _ := strconv.Atoi(zone) // as From gave it
		b.names[i].Scope_id = uint32(index)
	}
	return unix.SizeofSockaddrInet6
}

// setSource asks for a source address, which only a socket on an unspecified address needs.
func (b *SendBatch) setSource(i int, from netip.Addr) {
	h := &b.hdrs[i].hdr
	h.Control = nil
	h.SetControllen(0)
	if !from.IsValid() {
		return
	}
	head := (*unix.Cmsghdr)(unsafe.Pointer(&b.controls[i]))
	data := unsafe.Add(unsafe.Pointer(head), unix.CmsgLen(0))
	if from.Is4() {
		head.Level, head.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		head.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		*(*unix.Inet4Pktinfo)(data) = unix.Inet4Pktinfo{Spec_dst: from.As4()}
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	} else {
		head.Level, head.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		head.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		*(*unix.Inet6Pktinfo)(data) = unix.Inet6Pktinfo{Addr: from.As16()}
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	}
	h.Control = (*byte)(unsafe.Pointer(head))
}

// bigEndian tells the byte order of this machine, which is that of the kernel's structures.
var bigEndian = *(*byte)(unsafe.Pointer(&[]uint16{1}[0])) == 0
