//go:build amd64 || arm64

package offload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netlink is a route netlink socket: one that asks, or one that hears of changes.
type netlink struct {
	fd  int
	seq uint32
	buf [16 << 10]byte // the longest answer to what is asked here is a filter's, below 1 KiB
}

// openNetlink opens a socket. With groups it hears of their changes, and does not wait.
func openNetlink(groups uint32) (*netlink, error) {
	flags := unix.SOCK_RAW | unix.SOCK_CLOEXEC
	if groups != 0 {
		flags |= unix.SOCK_NONBLOCK
	}
	fd, err := unix.Socket(unix.AF_NETLINK, flags, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind a netlink socket: %w", err)
	}
	// The kernel answers within the call that asks; a second is for what nobody has thought of.
	timeout := unix.NsecToTimeval(int64(time.Second))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	return &netlink{fd: fd}, nil
}

func (n *netlink) close() { _ = unix.Close(n.fd) }

// changed says whether there were changes since the last call. A queue that ran over is one, too.
func (n *netlink) changed() bool {
	any := false
	for {
		_, _, err := unix.Recvfrom(n.fd, n.buf[:], 0)
		switch {
		case err == nil, errors.Is(err, unix.ENOBUFS):
			any = true
		case errors.Is(err, unix.EINTR):
		default:
			return any
		}
	}
}

// message builds a request: header, the fixed part, attributes.
type message []byte

func request(kind, flags uint16, fixed ...byte) message {
	m := make(message, unix.NLMSG_HDRLEN, 256)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], flags|unix.NLM_F_REQUEST)
	return append(m, fixed...)
}

func (m message) attr(kind uint16, value []byte) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.NLA_HDRLEN+len(value)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(m, value...)
	return append(m, make([]byte, (4-len(value)%4)%4)...)
}

func (m message) number(kind uint16, n uint32) message {
	return m.attr(kind, binary.NativeEndian.AppendUint32(nil, n))
}

func (m message) text(kind uint16, s string) message { return m.attr(kind, append([]byte(s), 0)) }

// ask sends a request and returns the body of the first answer; nil for an acknowledgement.
func (n *netlink) ask(m message) ([]byte, error) {
	n.seq++
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint32(m[8:], n.seq)
	if err := unix.Sendto(n.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	for {
		size, _, err := unix.Recvfrom(n.fd, n.buf[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b := n.buf[:size]
		for len(b) >= unix.NLMSG_HDRLEN {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.NLMSG_HDRLEN || length > len(b) {
				break
			}
			body := b[unix.NLMSG_HDRLEN:length]
			kind, seq := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:])
			b = b[min(len(b), (length+3)&^3):]
			switch {
			case seq != n.seq: // the answer to what was given up
			case kind != unix.NLMSG_ERROR:
				return body, nil
			case len(body) < 4:
				return nil, unix.EBADMSG
			default:
				if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
					return nil, unix.Errno(-code)
				}
				return nil, nil
			}
		}
	}
}

// attrs calls yield for every attribute in b.
func attrs(b []byte, yield func(kind uint16, value []byte)) {
	for len(b) >= unix.NLA_HDRLEN {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if length < unix.NLA_HDRLEN || length > len(b) {
			return
		}
		yield(kind&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.NLA_HDRLEN:length])
		b = b[min(len(b), (length+3)&^3):]
	}
}

// route is a way out. mtu 0: the interface's.
type route struct {
	ifindex, mtu uint32
	hop          netip.Addr // the gateway, of either family, or the destination itself
}

// route asks which way what goes from src to dst leaves.
func (n *netlink) route(src, dst netip.Addr) (out route, err error) {
	family, size := byte(unix.AF_INET), byte(32)
	if dst.Is6() {
		family, size = unix.AF_INET6, 128
	}
	m := request(unix.RTM_GETROUTE, 0, family, size, size, 0, 0, 0, 0, 0, 0, 0, 0, 0) // struct rtmsg
	body, err := n.ask(m.attr(unix.RTA_DST, dst.AsSlice()).attr(unix.RTA_SRC, src.AsSlice()))
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrRoute, err)
	}
	if len(body) < unix.SizeofRtMsg {
		return out, ErrRoute
	}
	switch body[7] { // rtm_type
	case unix.RTN_UNICAST:
	case unix.RTN_LOCAL:
		return out, ErrLocal
	default:
		return out, ErrRoute
	}
	out.hop = dst
	attrs(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unix.RTA_GATEWAY:
			out.hop, _ = netip.AddrFromSlice(value)
		case kind == unix.RTA_VIA && len(value) > 2: // struct rtvia: IPv4 by a neighbour of IPv6, RFC 5549
			out.hop, _ = netip.AddrFromSlice(value[2:])
		case kind == unix.RTA_OIF && len(value) == 4:
			out.ifindex = binary.NativeEndian.Uint32(value)
		case kind == unix.RTA_METRICS:
			attrs(value, func(kind uint16, value []byte) {
				if kind == unix.RTAX_MTU && len(value) == 4 {
					out.mtu = binary.NativeEndian.Uint32(value)
				}
			})
		}
	})
	if !out.hop.IsValid() {
		return out, ErrRoute
	}
	return out, nil
}

// The clsact filter of old kernels. 0x5475 is Tu; who else uses that priority is not displaced.
const (
	clsactHandle   = 0xffff0000
	clsactParent   = 0xfffffff1 // TC_H_CLSACT
	clsactIngress  = 0xfffffff2 // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
	filterPriority = 0x5475
	filterHandle   = 1
	filterName     = "turnd-relay"

	tcaBPFFd, tcaBPFName, tcaBPFFlags, tcaBPFID = 6, 7, 8, 11 // of linux/pkt_cls.h
	directAction                                = 1           // TCA_BPF_FLAG_ACT_DIRECT
)

// tcmsg is the fixed part of requests about traffic control.
func tcmsg(kind, flags uint16, ifindex int, handle, parent, info uint32) message {
	t := struct {
		family  uint8
		_       [3]byte
		ifindex int32
		handle  uint32
		parent  uint32
		info    uint32
	}{ifindex: int32(ifindex), handle: handle, parent: parent, info: info}
	return request(kind, flags, unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t))...)
}

func filterMsg(kind, flags uint16, ifindex int) message {
	return tcmsg(kind, flags, ifindex, filterHandle, clsactIngress, filterPriority<<16|uint32(wire(unix.ETH_P_ALL)))
}

// addFilter attaches a program, in the place of one that a dead process left.
func (n *netlink) addFilter(ifindex, program int) error {
	qdisc := tcmsg(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, ifindex, clsactHandle, clsactParent, 0)
	if _, err := n.ask(qdisc.text(unix.TCA_KIND, "clsact")); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add a clsact qdisc: %w", err)
	}
	var options message
	options = options.number(tcaBPFFd, uint32(program)).text(tcaBPFName, filterName).number(tcaBPFFlags, directAction)
	filter := filterMsg(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_ACK, ifindex)
	if _, err := n.ask(filter.text(unix.TCA_KIND, "bpf").attr(unix.TCA_OPTIONS|unix.NLA_F_NESTED, options)); err != nil {
		return fmt.Errorf("add a filter: %w", err)
	}
	return nil
}

// filter returns the id of the program that is attached; 0 is none.
func (n *netlink) filter(ifindex int) (id uint32) {
	body, err := n.ask(filterMsg(unix.RTM_GETTFILTER, 0, ifindex).text(unix.TCA_KIND, "bpf"))
	if err != nil || len(body) < 20 { // struct tcmsg
		return 0
	}
	attrs(body[20:], func(kind uint16, value []byte) {
		if kind == unix.TCA_OPTIONS {
			attrs(value, func(kind uint16, value []byte) {
				if kind == tcaBPFID && len(value) == 4 {
					id = binary.NativeEndian.Uint32(value)
				}
			})
		}
	})
	return id
}

// removeFilter leaves the qdisc: others may use it.
func (n *netlink) removeFilter(ifindex int) error {
	_, err := n.ask(filterMsg(unix.RTM_DELTFILTER, unix.NLM_F_ACK, ifindex).text(unix.TCA_KIND, "bpf"))
	return err
}
