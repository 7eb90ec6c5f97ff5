package tls

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/arq"
	"traverse.internal/core/dtlsserver"
)

// Datagrams is a pair of datagram sockets between the two devices: core/ice's Pair.
type Datagrams interface {
	arq.Datagrams
	// SetReadDeadline ends Receive, now or later, with a timeout. The zero time means never.
	SetReadDeadline(t time.Time) error
}

const (
	recordAlert       = 21
	recordApplication = 23
	recordFirst       = 13 // type, version, epoch, number, length: RFC 6347 §4.1
	maxEarly          = 64 // datagrams of data that arrived before the handshake was over on this side
)

// handshakeConn is what pion/dtls runs its handshake on. It keeps back what is not the handshake's.
type handshakeConn struct {
	under  Datagrams
	cut    atomic.Bool // nothing is written any more
	closed atomic.Bool

	queue [][]byte // received, not read; one reader
	early [][]byte // records of data
	alert uint8    // that the peer sent in clear

	mu   sync.Mutex // guards last
	last []byte     // the datagram written last: of a server that is done, its last flight
}

func (c *handshakeConn) Read(p []byte) (int, error) {
	for len(c.queue) == 0 {
		if c.closed.Load() {
			return 0, net.ErrClosed
		}
		if err := c.under.Receive(c.take); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.queue[0])
	c.queue = c.queue[1:]
	return n, nil
}

func (c *handshakeConn) take(b []byte) {
	switch {
	case len(b) < recordFirst:
		return
	case b[0] == recordApplication:
		if len(c.early) < maxEarly {
			c.early = append(c.early, append([]byte(nil), b...))
		}
		return
	case b[0] == recordAlert && b[3] == 0 && b[4] == 0 && len(b) == recordFirst+2:
		c.alert = b[recordFirst+1]
	}
	c.queue = append(c.queue, append([]byte(nil), b...))
}

func (c *handshakeConn) Write(p []byte) (int, error) {
	if c.cut.Load() {
		return len(p), nil
	}
	c.mu.Lock()
	c.last = append([]byte(nil), p...)
	c.mu.Unlock()
	_, err := c.under.Send([][]byte{p})
	return len(p), err
}

// Close ends a Read under way, and leaves the datagrams open.
func (c *handshakeConn) Close() error {
	c.closed.Store(true)
	return c.under.SetReadDeadline(time.Unix(1, 0))
}

// restore makes the datagrams readable again, after Close and the last Read.
func (c *handshakeConn) restore() {
	_ = c.under.SetReadDeadline(time.Time{})
	for _, b := range c.queue { // records may share a datagram with others; all but data is the handshake's
		if b[0] == recordApplication {
			c.early = append(c.early, b)
		}
	}
	c.queue = nil
}

func (c *handshakeConn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return nil
	}
	return c.under.SetReadDeadline(t)
}

func (c *handshakeConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *handshakeConn) SetWriteDeadline(time.Time) error { return nil }
func (c *handshakeConn) LocalAddr() net.Addr              { return c.under.LocalAddr() }
func (c *handshakeConn) RemoteAddr() net.Addr             { return c.under.RemoteAddr() }

// records are datagrams under DTLS: what arq runs on.
type records struct {
	under   Datagrams
	session *dtlsserver.Session
	early   [][]byte // arrived before the handshake was over; the reader's
	sealing sync.Mutex
	mem     []byte
	sealed  [][]byte
	forged  atomic.Uint64 // records that could not be opened
}

// Send seals each packet into a record and sends them.
func (r *records) Send(packets [][]byte) (tooBig bool, err error) {
	r.sealing.Lock()
	defer r.sealing.Unlock()
	r.sealed = r.sealed[:0]
	need := 0
	for _, p := range packets {
		need += len(p) + dtlsserver.Overhead
	}
	if cap(r.mem) < need {
		r.mem = make([]byte, 0, need)
	}
	mem := r.mem[:0]
	for _, p := range packets {
		begin := len(mem)
		out := r.session.Seal(mem, p)
		if out == nil {
			return false, errExhausted
		}
		mem = out
		r.sealed = append(r.sealed, mem[begin:len(mem):len(mem)])
	}
	return r.under.Send(r.sealed)
}

// Receive opens records and hands their contents on. A peer that says close_notify ends it.
func (r *records) Receive(take func([]byte)) error {
	closed := false
	open := func(b []byte) { closed = r.open(b, take) || closed }
	if early := r.early; early != nil {
		r.early = nil
		for _, b := range early {
			open(b)
		}
	} else if err := r.under.Receive(open); err != nil {
		return err
	}
	if closed {
		return arq.ErrTruncated
	}
	return nil
}

// open takes a datagram apart.
func (r *records) open(b []byte, take func([]byte)) (closed bool) {
	for len(b) > 0 {
		kind, content, rest := r.session.Next(b)
		b = rest
		switch kind {
		case dtlsserver.Data:
			take(content)
		case dtlsserver.Closed:
			closed = true
		case dtlsserver.Repeat:
			_, _ = r.under.Send([][]byte{r.session.Final(nil)})
		default:
			r.forged.Add(1)
		}
	}
	return closed
}

// Close says close_notify and closes the datagrams.
func (r *records) Close() error {
	if b := r.session.SealClose(nil); b != nil {
		_, _ = r.under.Send([][]byte{b})
	}
	return r.under.Close()
}

func (r *records) LocalAddr() net.Addr  { return r.under.LocalAddr() }
func (r *records) RemoteAddr() net.Addr { return r.under.RemoteAddr() }
