package ice

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/udp"
)

// Pair is the datagram path to the peer's device: a socket that is shared, and one address of the peer. What arrives on it was sent
// from that address with the tag of this pair, and is not otherwise known to be the peer's. It ends when it is closed, with its
// Endpoint, or when the peer has not answered a check for 30 s.
type Pair struct {
	u   *udpAgent
	way way
}

// keep hands the pair over to who asked for the path.
func (u *udpAgent) keep() *Pair {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.kept = true
	p := &Pair{u: u, way: u.legs[u.won].way}
	if p.way.lent != nil {
		ep := u.ports.ep
		ep.mu.Lock()
		open := !ep.closed
		if open {
			ep.wg.Add(1)
		}
		ep.mu.Unlock()
		if open {
			go u.bindRelayed(p.way)
		}
	}
	return p
}

// Send sends packets of at most 1,400 bytes. It never waits: what the socket does not take is lost. tooBig: the path takes no
// packets as long as some of these.
func (p *Pair) Send(packets [][]byte) (tooBig bool, err error) {
	p.u.mu.Lock()
	closed := p.u.closed
	p.u.mu.Unlock()
	if closed {
		return false, ErrClosed
	}
	if l := p.way.lent; l != nil {
		var head [4]byte
		binary.BigEndian.PutUint32(head[:], p.u.tagOut)
		for _, b := range packets {
			l.Send(p.way.to, head[:], b)
		}
		return false, nil
	}
	ports := p.u.ports
	batch := ports.batches.Get().(*udp.SendBatch)
	defer ports.batches.Put(batch)
	route := udp.Route{To: p.way.to, From: p.way.local}
	var drops udp.Drops
	send := func() {
		d := p.way.sock.conn.Send(batch)
		drops.TooBig += d.TooBig
		drops.Full += d.Full
	}
	for _, b := range packets {
		if batch.Full() {
			send()
		}
		head := batch.Head(4)
		binary.BigEndian.PutUint32(head, p.u.tagOut)
		batch.AddParts(route, head, b, 0)
	}
	send()
	return drops.TooBig > 0, nil
}

// Receive waits until packets are there and hands all of them to take, which must not keep them. One goroutine at a time.
func (p *Pair) Receive(take func(packet []byte)) error { return p.u.in.take(take) }

// SetReadDeadline ends Receive with a timeout at t; the zero time means never.
func (p *Pair) SetReadDeadline(t time.Time) error {
	p.u.mu.Lock()
	defer p.u.mu.Unlock()
	if p.u.timer != nil {
		p.u.timer.Stop()
		p.u.timer = nil
	}
	wait := time.Until(t)
	if !t.IsZero() && wait > 0 {
		p.u.timer = time.AfterFunc(wait, func() { p.u.in.expire(true) })
	}
	p.u.in.expire(!t.IsZero() && wait <= 0)
	return nil
}

func (q *datagrams) expire(now bool) {
	q.mu.Lock()
	q.expired = now
	q.mu.Unlock()
	q.cond.Broadcast()
}

// Close ends the pair. The socket is the endpoint's and stays.
func (p *Pair) Close() error {
	p.u.close(ErrClosed)
	return nil
}

// LocalAddr returns our end, as far as it is known: the wildcard address with the port, if it is one.
func (p *Pair) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.local()) }

// RemoteAddr returns the peer's end.
func (p *Pair) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(p.way.to) }

func (p *Pair) local() netip.AddrPort {
	if p.way.lent != nil {
		return p.way.lent.Relayed()
	}
	if p.way.local.IsValid() {
		return netip.AddrPortFrom(p.way.local, p.way.sock.local.Port())
	}
	return p.way.sock.local
}
