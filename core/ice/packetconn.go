package ice

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// mailboxLen is how many frames may wait for the agent; a reader waits beyond that, and TCP slows the peer.
const mailboxLen = 16

// labels stand for the local addresses of an agent, one per family. The agent only pairs and compares them: our Offer is
// written without it and every socket is ours, so true addresses, of which it refuses ::1 and link-local ones, are not
// needed. They are the IPv4 dummy address (RFC 7600 §4.8) and one of the discard prefix (RFC 6666), on no interface.
var labels = [2]netip.Addr{netip.MustParseAddr("192.0.0.8"), netip.MustParseAddr("100::1")}

type letter struct {
	frame []byte
	from  netip.AddrPort
}

// mailbox is the net.PacketConn that the agent gets for one family. Messages go to the attempt's connections by the
// address of their other end. The agent owns it from newAgent on and closes it.
type mailbox struct {
	a      *Attempt
	v6     bool
	in     chan letter
	once   sync.Once
	closed chan struct{}
}

func newMailbox(a *Attempt, v6 bool) *mailbox {
	return &mailbox{a: a, v6: v6, in: make(chan letter, mailboxLen), closed: make(chan struct{})}
}

// put waits for room; what comes after the agent is dropped.
func (p *mailbox) put(frame []byte, from netip.AddrPort) {
	select {
	case p.in <- letter{frame, from}:
	case <-p.closed:
	case <-p.a.ctx.Done():
	}
}

// ReadFrom waits for the next message.
func (p *mailbox) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case l := <-p.in:
		return copy(b, l.frame), net.TCPAddrFromAddrPort(l.from), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a message to the connection whose other end is to. It never fails: whether something comes back decides.
func (p *mailbox) WriteTo(b []byte, to net.Addr) (int, error) {
	if tcp, ok := to.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		p.a.send(b, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
	}
	return len(b), nil
}

// Close ends ReadFrom.
func (p *mailbox) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// LocalAddr is the family's label with the port of the listeners.
func (p *mailbox) LocalAddr() net.Addr {
	label := labels[0]
	if p.v6 {
		label = labels[1]
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(label, p.a.ep.port))
}

// SetDeadline and its kin do nothing: the agent calls them only right before Close.
func (p *mailbox) SetDeadline(time.Time) error      { return nil }
func (p *mailbox) SetReadDeadline(time.Time) error  { return nil }
func (p *mailbox) SetWriteDeadline(time.Time) error { return nil }
