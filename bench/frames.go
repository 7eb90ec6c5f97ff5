package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Frames are written to the cable as they are (AF_PACKET), past sockets and routes: many flows go out with one system call,
// each datagram for less than a microsecond, so that the load is not what is measured.

const (
	vnetHeader = 10 // struct virtio_net_hdr in front of every frame
	etherLen   = 14
	udpLen     = 8
)

// frame is a datagram from here to the relay's machine, or a train of them when segment is not 0: then the payload is cut
// there, as a network card that joins them would have handed them over.
func (h *host) frame(from, to netip.AddrPort, payload []byte, segment int) []byte {
	ipLen := 20
	if from.Addr().Is6() {
		ipLen = 40
	}
	b := make([]byte, vnetHeader+etherLen+ipLen+udpLen, vnetHeader+etherLen+ipLen+udpLen+len(payload))
	ether := b[vnetHeader:]
	copy(ether, []byte{2, 0x77, 0, 0, byte(h.n), 2, 2, 0x77, 0, 0, byte(h.n), 1})
	ip := ether[etherLen:]
	length := udpLen + len(payload)
	if ipLen == 20 {
		binary.BigEndian.PutUint16(ether[12:], unix.ETH_P_IP)
		ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, 64, unix.IPPROTO_UDP // DF, as every modern sender
		binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+length))
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip[:20])))
	} else {
		binary.BigEndian.PutUint16(ether[12:], unix.ETH_P_IPV6)
		ip[0], ip[6], ip[7] = 0x60, unix.IPPROTO_UDP, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
		copy(ip[8:], from.Addr().AsSlice())
		copy(ip[24:], to.Addr().AsSlice())
	}
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	pseudo := sum(uint32(unix.IPPROTO_UDP)+uint32(length), from.Addr().AsSlice())
	pseudo = sum(pseudo, to.Addr().AsSlice())
	b = append(b, payload...)
	udp = b[vnetHeader+etherLen+ipLen:]
	if segment == 0 {
		checksum := ^fold(sum(pseudo, udp))
		if checksum == 0 {
			checksum = 0xffff
		}
		binary.BigEndian.PutUint16(udp[6:], checksum)
		return b
	}
	// linux/virtio_net.h: NEEDS_CSUM, GSO_UDP_L4; hdr_len, gso_size, csum_start, csum_offset.
	b[0], b[1] = 1, 5
	binary.NativeEndian.PutUint16(b[2:], uint16(etherLen+ipLen+udpLen))
	binary.NativeEndian.PutUint16(b[4:], uint16(segment))
	binary.NativeEndian.PutUint16(b[6:], uint16(etherLen+ipLen))
	binary.NativeEndian.PutUint16(b[8:], 6)
	binary.BigEndian.PutUint16(udp[6:], fold(pseudo))
	return b
}

// sum and fold are the Internet checksum, RFC 1071.
func sum(acc uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		acc += uint32(binary.BigEndian.Uint16(b))
		if acc >= 1<<31 {
			acc = acc>>16 + acc&0xffff
		}
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

func fold(acc uint32) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// A wire writes frames to a host's cable.
type wire struct {
	fd  int
	msg []mmsghdr
	iov []unix.Iovec
}

// mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// wireBatch is how many frames one system call writes.
const wireBatch = 64

func (h *host) openWire() (*wire, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: nothing is received
	if err != nil {
		return nil, fmt.Errorf("open the cable: %w", err)
	}
	w := &wire{fd: fd, msg: make([]mmsghdr, wireBatch), iov: make([]unix.Iovec, wireBatch)}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: h.index})
	for _, option := range []int{unix.PACKET_QDISC_BYPASS, unix.PACKET_VNET_HDR} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open the cable: %w", err)
	}
	for i := range w.msg {
		w.msg[i].hdr.Iov = &w.iov[i]
		w.msg[i].hdr.Iovlen = 1
	}
	return w, nil
}

func (w *wire) close() { unix.Close(w.fd) }

// send writes at most wireBatch frames, and returns how many.
func (w *wire) send(frames [][]byte) (int, error) {
	n := min(len(frames), wireBatch)
	for i, f := range frames[:n] {
		w.iov[i].Base = &f[0]
		w.iov[i].SetLen(len(f))
	}
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&w.msg[0])), uintptr(n), 0, 0, 0)
	switch errno {
	case 0:
		return int(sent), nil
	case unix.EINTR, unix.ENOBUFS, unix.EAGAIN:
		return 0, nil
	}
	return 0, fmt.Errorf("write to the cable: %w", errno)
}
