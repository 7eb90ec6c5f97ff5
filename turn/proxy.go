package turn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"traverse.internal/turn/alloc"
)

const (
	// proxyLine is the longest header of version 1, line end included.
	proxyLine = 107
	// proxyExtra bounds what version 2 may carry behind its addresses: certificates' names and checksums are hundreds.
	proxyExtra = 2048
)

// proxySignature begins version 2 of the PROXY protocol (the HAProxy project's proxy-protocol.txt, 2.2).
var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

var errProxy = errors.New("turn: not a header of the PROXY protocol")

// takeProxied takes a connection in that a trusted proxy made: its header says whose it is. Until that has come the proxy is
// the stranger.
func (s *Server) takeProxied(conn *net.TCPConn, transport alloc.Transport) {
	proxy := addrPortOf(conn.RemoteAddr())
	if !s.door.enter(proxy.Addr()) {
		refuse(conn)
		return
	}
	stop := context.AfterFunc(s.ctx, func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(s.config.FirstMessage))
	client, err := readProxy(conn)
	stop()
	s.door.known(proxy.Addr())
	s.door.leave()
	if err != nil {
		refuse(conn)
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	if !client.IsValid() {
		client = proxy
	}
	st, ok := s.newStream(conn, client, transport)
	if !ok {
		refuse(conn)
		return
	}
	st.serve()
}

// readProxy reads a header, and nothing behind it. The address is invalid when the header has none: a proxy's own health
// check, or a family that is not IP.
func readProxy(r io.Reader) (netip.AddrPort, error) {
	head := make([]byte, len(proxySignature)) // the shortest header of version 1 is longer
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, err
	}
	if bytes.Equal(head, proxySignature) {
		return readProxy2(r)
	}
	if !bytes.HasPrefix(head, []byte("PROXY ")) {
		return netip.AddrPort{}, errProxy
	}
	for !bytes.HasSuffix(head, []byte("\r\n")) {
		if len(head) == proxyLine {
			return netip.AddrPort{}, errProxy
		}
		head = append(head, 0)
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil { // one by one: what is behind is the client's
			return netip.AddrPort{}, err
		}
	}
	return parseProxy1(string(head[:len(head)-2]))
}

// parseProxy1 reads "PROXY TCP4 source destination sourceport destinationport", or "PROXY UNKNOWN" and anything.
func parseProxy1(line string) (netip.AddrPort, error) {
	fields := strings.Split(line, " ")
	if len(fields) >= 2 && fields[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(fields) != 6 {
		return netip.AddrPort{}, errProxy
	}
	ip, err := netip.ParseAddr(fields[2])
	port, errPort := strconv.ParseUint(fields[4], 10, 16)
	if err != nil || errPort != nil || ip.Zone() != "" || fields[1] != map[bool]string{true: "TCP4", false: "TCP6"}[ip.Is4()] {
		return netip.AddrPort{}, errProxy
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}

// readProxy2 reads version and command, family and protocol, length, addresses, and what may follow.
func readProxy2(r io.Reader) (netip.AddrPort, error) {
	var fixed [4]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	length := int(binary.BigEndian.Uint16(fixed[2:]))
	command := fixed[0] & 0x0f
	if fixed[0]>>4 != 2 || command > 1 || length > 2*(16+2)+proxyExtra {
		return netip.AddrPort{}, errProxy
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, err
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[fixed[1]] // TCP over IPv4, IPv6
	switch {
	case command == 0 || size == 0: // LOCAL, or nothing that we serve
		return netip.AddrPort{}, nil
	case length < 2*(size+2):
		return netip.AddrPort{}, errProxy
	}
	ip, _ := netip.AddrFromSlice(body[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(body[2*size:])), nil
}
