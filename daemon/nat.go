package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// Bounds of one question over UDP: RFC 8489 has 500 ms as the first pause; somebody waits for the answer here.
const (
	natTries = 3
	natPause = 500 * time.Millisecond
)

// Flags of CHANGE-REQUEST, RFC 5780 §7.2.
const (
	changeAddress = 4
	changePort    = 2
)

// asker asks STUN servers from one UDP socket, so that their answers can be compared. It belongs to one goroutine.
type asker struct {
	conn  *net.UDPConn
	pause time.Duration // before a question is asked again
}

func newAsker(ctx context.Context, v6 bool) (*asker, error) {
	network := "udp4"
	if v6 {
		network = "udp6"
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, network, ":0")
	if err != nil {
		return nil, err
	}
	return &asker{conn.(*net.UDPConn), natPause}, nil
}

func (a *asker) close() { a.conn.Close() }

// seen is an answer to a Binding.
type seen struct {
	mapped, other netip.AddrPort // other: the server's second address, RFC 5780; the zero value without one
	took          time.Duration
}

var errNoAnswer = errors.New("no answer over UDP")

// ask sends a Binding request; change is the CHANGE-REQUEST's flags, 0 for none. tries bounds the repetitions.
func (a *asker) ask(ctx context.Context, to netip.AddrPort, change uint32, tries int) (seen, error) {
	id := stun.NewTransactionID()
	b := stun.New(nil, stun.MethodBinding.Request(), id)
	if change != 0 {
		b.AddUint32(stun.AttrChangeRequest, change)
	}
	if err := b.Err(); err != nil {
		return seen{}, err
	}
	buf := make([]byte, 1500)
	for range tries {
		if ctx.Err() != nil {
			return seen{}, context.Cause(ctx)
		}
		began := time.Now()
		if _, err := a.conn.WriteToUDPAddrPort(b.Bytes(), to); err != nil {
			return seen{}, err
		}
		_ = a.conn.SetReadDeadline(began.Add(a.pause))
		for {
			n, _, err := a.conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				break // of the deadline, or an ICMP error: ask again
			}
			m, err := stun.Parse(buf[:n])
			if err != nil || m.TransactionID() != id || m.Type().Method != stun.MethodBinding {
				continue
			}
			if m.Type().Class != stun.ClassSuccess {
				return seen{}, errors.New("the server refused the question")
			}
			s := seen{took: time.Since(began)}
			if s.mapped, err = m.XORAddr(stun.AttrXORMappedAddress); err != nil {
				return seen{}, err
			}
			s.other, _ = m.Addr(stun.AttrOtherAddress)
			return s, nil
		}
	}
	return seen{}, errNoAnswer
}

// Words of RFC 4787 for what a NAT does.
const (
	natUnknown     = "unknown"
	natNone        = "none"                       // the address is this machine's own
	natIndependent = "endpoint-independent"       // one port outside for all destinations; lets everybody in
	natAddress     = "address-dependent"          // ... for each address; lets in who was sent to
	natAddressPort = "address-and-port-dependent" // ... for each address and port
	natDependent   = "destination-dependent"      // one of the last two: there was no way to tell which
)

// mapping compares how servers see one socket. first came from one server; its other address is asked, where it has one
// (RFC 5780 §4.3), else the other servers are.
func (a *asker) mapping(ctx context.Context, server netip.AddrPort, first seen, others []seen) string {
	if isOwn(first.mapped.Addr()) {
		return natNone
	}
	if first.other.IsValid() && first.other.Addr() != server.Addr() {
		second, err := a.ask(ctx, netip.AddrPortFrom(first.other.Addr(), server.Port()), 0, natTries)
		if err == nil && second.mapped == first.mapped {
			return natIndependent
		}
		if err == nil {
			if third, err := a.ask(ctx, first.other, 0, natTries); err == nil && third.mapped == second.mapped {
				return natAddress
			}
			return natAddressPort
		}
	}
	for _, o := range others {
		if o.mapped != first.mapped {
			return natDependent
		}
	}
	if len(others) > 0 {
		return natIndependent
	}
	return natUnknown
}

// filtering asks the server to answer from elsewhere (RFC 5780 §4.4). It is for a socket that has sent to no other
// address of that server.
func (a *asker) filtering(ctx context.Context, server netip.AddrPort, first seen) string {
	if !first.other.IsValid() || first.other.Addr() == server.Addr() {
		return natUnknown
	}
	if _, err := a.ask(ctx, server, changeAddress|changePort, natTries); err == nil {
		return natIndependent
	}
	if _, err := a.ask(ctx, server, changePort, natTries); err == nil {
		return natAddress
	}
	return natAddressPort
}

// isOwn reports whether an address is one of this machine's.
func isOwn(a netip.Addr) bool {
	links, _ := net.InterfaceAddrs()
	for _, l := range links {
		if n, ok := l.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == a.Unmap() {
				return true
			}
		}
	}
	return false
}
