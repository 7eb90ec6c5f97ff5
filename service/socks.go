package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// SOCKS replies, RFC 1928 §6.
const (
	socksOK          = 0x00
	socksDenied      = 0x02
	socksUnreachable = 0x04
	socksBadCommand  = 0x07
	socksBadAddress  = 0x08
)

// ErrSOCKS is a client that does not speak SOCKS version 5 or wants what is not offered.
var ErrSOCKS = errors.New("service: not a SOCKS5 CONNECT")

// readSOCKS takes the greeting and the request of a SOCKS5 client (RFC 1928 §3, §4), without authentication: only CONNECT. It reads at most 520
// bytes and not one behind the request. The answer to the request is the caller's.
func readSOCKS(c io.ReadWriter) (Request, error) {
	var buf [256]byte
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return Request{}, err
	}
	if buf[0] != 5 {
		return Request{}, fmt.Errorf("%w: version %d", ErrSOCKS, buf[0])
	}
	methods := buf[:buf[1]]
	if _, err := io.ReadFull(c, methods); err != nil {
		return Request{}, err
	}
	choice := byte(0xff) // no acceptable method
	for _, m := range methods {
		if m == 0 {
			choice = 0
		}
	}
	if _, err := c.Write([]byte{5, choice}); err != nil {
		return Request{}, err
	}
	if choice != 0 {
		return Request{}, fmt.Errorf("%w: the client wants to log in", ErrSOCKS)
	}
	if _, err := io.ReadFull(c, buf[:4]); err != nil {
		return Request{}, err
	}
	version, command, kind := buf[0], buf[1], buf[3]
	var host string
	switch kind {
	case 1, 4:
		n := 4
		if kind == 4 {
			n = 16
		}
		if _, err := io.ReadFull(c, buf[:n]); err != nil {
			return Request{}, err
		}
		a, _ := netip.AddrFromSlice(buf[:n])
		host = a.Unmap().String()
	case 3:
		if _, err := io.ReadFull(c, buf[:1]); err != nil {
			return Request{}, err
		}
		name := buf[:buf[0]]
		if _, err := io.ReadFull(c, name); err != nil {
			return Request{}, err
		}
		host = string(name)
	default:
		answerSOCKS(c, socksBadAddress)
		return Request{}, fmt.Errorf("%w: address type %d", ErrSOCKS, kind)
	}
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return Request{}, err
	}
	if version != 5 || command != 1 {
		answerSOCKS(c, socksBadCommand)
		return Request{}, fmt.Errorf("%w: command %d", ErrSOCKS, command)
	}
	r := Request{Kind: KindTCP, Host: host, Port: binary.BigEndian.Uint16(buf[:2])}
	// What a client may write is what a channel's name may have.
	checked, err := ParseRequest(r.String())
	if err != nil {
		answerSOCKS(c, socksBadAddress)
		return Request{}, err
	}
	return checked, nil
}

// answerSOCKS answers a request, RFC 1928 §6. The bound address is not told: it is another machine's.
func answerSOCKS(c io.Writer, reply byte) {
	_, _ = c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
}
