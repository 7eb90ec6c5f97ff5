package turnclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

const (
	// maxAttempts bounds the ConnectionAttempts that wait for a bindLoop. More are dropped; the relay closes those peers
	// after attemptLife.
	maxAttempts = 32
	// maxBinds is the number of bindLoops, and so of data connections being made or waiting for Accept.
	maxBinds = 8
	// attemptLife is how long a server waits for ConnectionBind (RFC 6062 §5.3).
	attemptLife = 30 * time.Second
	// connectTimeout bounds the wait for Connect's answer: the server tries for at least 30 s (RFC 6062 §5.2).
	connectTimeout = 40 * time.Second
)

// attempt is a peer's connection that waits at the relay.
type attempt struct {
	id   uint32
	peer netip.AddrPort
	came time.Time
}

// indication queues a ConnectionAttempt. It does not block: a queue that is full is not waited for.
func (c *Client) indication(m stun.Message) {
	if m.Type().Method != stun.MethodConnectionAttempt || len(m.AppendUnknown(nil, nil)) > 0 {
		c.stats.stray.Add(1)
		return
	}
	id, err := m.Uint32(stun.AttrConnectionID)
	peer, err2 := m.XORAddr(stun.AttrXORPeerAddress)
	if err != nil || err2 != nil {
		c.stats.stray.Add(1)
		return
	}
	c.stats.attempts.Add(1)
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	select {
	case c.attempts <- attempt{id, peer, time.Now()}:
	default:
		c.stats.attemptsDropped.Add(1)
	}
}

// bindLoop turns attempts into data connections and hands them to Accept, one at a time, until the client ends.
func (a *Allocation) bindLoop() {
	for {
		var next attempt
		select {
		case next = <-a.c.attempts:
		case <-a.c.life.Done():
			return
		}
		if time.Since(next.came) >= attemptLife {
			a.c.stats.attemptsDropped.Add(1)
			continue
		}
		conn, err := a.c.bind(a.c.life, next.id)
		if err != nil {
			continue // counted; one peer's failure is not the listener's
		}
		select {
		case a.accepted <- accepted{conn, next.peer}:
		case <-a.c.life.Done():
			_ = conn.Close()
			return
		}
	}
}

// Accept returns the next connection that a peer made to the relayed address, and the peer's address. The first byte read
// from it is the peer's first. It belongs to the caller, but lives only as long as the allocation.
//
// Up to maxBinds connections are made ahead of Accept. One that could not be made is counted in Stats and not reported
// here. The error is the context's, or the allocation's Err.
func (a *Allocation) Accept(ctx context.Context) (*net.TCPConn, netip.AddrPort, error) {
	if err := a.Err(); err != nil {
		return nil, netip.AddrPort{}, err
	}
	select {
	case x := <-a.accepted:
		return x.conn, x.peer, nil
	case <-a.Done():
		return nil, netip.AddrPort{}, a.Err()
	case <-ctx.Done():
		return nil, netip.AddrPort{}, ctx.Err()
	}
}

// Connect has the relay dial peer from the relayed address and returns the connection. It needs no permission. The relay
// tries for 30 s and more, so the context is what bounds it in practice. The error is an *Error (446: there is such a
// connection; 447: the peer did not answer; 403: the relay does not dial there), an *UnreachableError or ErrClosed.
func (a *Allocation) Connect(ctx context.Context, peer netip.AddrPort) (*net.TCPConn, error) {
	m, err := a.c.do(ctx, stun.MethodConnect, connectTimeout, func(b *stun.Builder) {
		b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	})
	if err != nil {
		return nil, err
	}
	id, err := m.Uint32(stun.AttrConnectionID)
	if err != nil {
		return nil, &UnreachableError{a.c.server, stun.MethodConnect.String(), fmt.Errorf("%w: %w", ErrGarbage, err)}
	}
	return a.c.bind(ctx, id)
}

// bind makes the data connection for a connection id, within Config.Timeout.
func (c *Client) bind(ctx context.Context, id uint32) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	conn, err := c.bindConn(ctx, id)
	if err != nil {
		if c.life.Err() != nil {
			err = c.gone()
		}
		c.stats.bindsFailed.Add(1)
		c.stats.lastBindError.Store(&err)
		return nil, err
	}
	c.stats.bound.Add(1)
	return conn, nil
}

func (c *Client) bindConn(ctx context.Context, id uint32) (*net.TCPConn, error) {
	const method = stun.MethodConnectionBind
	tcp, err := dialTCP(ctx, c.cfg.Timeout, c.local, c.server)
	if err != nil {
		return nil, failure(ctx, c.server, method.String(), err)
	}
	conn, err := c.cfg.secure(ctx, tcp)
	if err != nil {
		return nil, failure(ctx, c.server, "tls handshake", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = c.handshake(ctx, conn, id)
	if !stop() && err == nil {
		// The function may still be about to set its deadline, so the connection cannot be given away any more.
		err = failure(ctx, c.server, method.String(), timeoutError{})
	}
	var bare *net.TCPConn
	if err == nil {
		if bare, err = c.bare(conn); err != nil {
			err = failure(ctx, c.server, method.String(), err)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return bare, nil
}

// handshake sends ConnectionBind and reads its answer, exactly: the byte behind it is the peer's.
func (c *Client) handshake(ctx context.Context, conn net.Conn, id uint32) error {
	const method = stun.MethodConnectionBind
	// The nonce of the control connection serves here too with most servers. One that gives a nonce to a single address
	// and port challenges once more; its new nonce is for this connection only.
	password, err := c.cfg.password(conn)
	if err != nil {
		return failure(ctx, c.server, "tls exporter", err)
	}
	cr := c.credentials().on(password)
	for try := 1; ; try++ {
		transaction := stun.NewTransactionID()
		request := appendRequest(nil, method, transaction, cr, func(b *stun.Builder) {
			b.AddUint32(stun.AttrConnectionID, id)
		})
		if _, err := conn.Write(request); err != nil {
			return failure(ctx, c.server, method.String(), err)
		}
		c.stats.requests.Add(1)
		b, err := readFrame(conn)
		if err != nil {
			return failure(ctx, c.server, method.String(), err)
		}
		m, err := stun.Parse(b)
		if err != nil || m.TransactionID() != transaction ||
			m.Type() != method.Success() && m.Type() != method.Error() {
			return &UnreachableError{c.server, method.String(), ErrGarbage}
		}
		if !cr.genuine(m) {
			c.stats.forged.Add(1)
			return &UnreachableError{c.server, method.String(), ErrForged}
		}
		again, err := c.judge(m, try == 1)
		if err == nil || !again || try == maxTries {
			return err
		}
		next, ok := cr.challenged(m, c.cfg.Username, password)
		if !ok {
			return err
		}
		c.stats.challenges.Add(1)
		cr = next
	}
}
