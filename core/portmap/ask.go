package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// An answer is waited for so long, then the request repeated: RFC 6886 §3.1 begins with 250 ms and doubles. A router that
// speaks the protocol is a millisecond away.
var waits = []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}

// errSilent: nobody answered.
var errSilent = errors.New("the router did not answer")

// ask sends a request to the router, from an address of ours, until an answer comes that parse takes. Others than the router are not heard.
func ask[T any](ctx context.Context, ours netip.Addr, to netip.AddrPort, request []byte, parse func([]byte) (T, error)) (T, error) {
	var none T
	var from *net.UDPAddr
	if ours.Is6() { // a router on the link would see our address there, and refuse to let anything through to another one
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(ours, 0))
	}
	conn, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return none, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	b := make([]byte, maxMessage+1)
	for _, wait := range waits {
		if _, err := conn.Write(request); err != nil {
			return none, err
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		for {
			n, err := conn.Read(b)
			var t interface{ Timeout() bool }
			if errors.As(err, &t) && t.Timeout() {
				break
			}
			if err != nil {
				return none, err // nothing listens there
			}
			got, err := parse(b[:n])
			if !errors.Is(err, errAnswer) {
				return got, err
			}
		}
	}
	return none, errSilent
}
