package turn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"traverse.internal/turn/alloc"
)

// tcpRelay is the relayed address of a TCP allocation. Its port is ours from the beginning, but listens only from the first
// permission on: who comes before is refused and tries again.
type tcpRelay struct {
	mu       sync.Mutex // guards the fields below
	bound    *boundSocket
	listener *net.TCPListener // nil: not yet
	closed   bool
}

// peerConn is what hangs on an alloc.Conn. The shard's lock guards it until the connection is removed from the table; then
// it belongs to who removed it.
type peerConn struct {
	cancel context.CancelFunc // ends the dialling; nil for a connection that the peer made
	peer   *net.TCPConn       // nil while dialling
	client *net.TCPConn       // nil until bound
	mode   string             // how it is relayed; empty until it is
}

func (s *Server) openTCPRelay(family int) (relay *tcpRelay, addr netip.AddrPort, ok bool) {
	relay = new(tcpRelay)
	addr, ok = s.bindPort(family, 1, (*alloc.Ports).Take, 1, func(at netip.AddrPort) (err error) {
		relay.bound, err = bindTCP(at)
		return err
	})
	return relay, addr, ok
}

// listen begins to accept peers, unless it did already. It says whether peers are accepted now.
func (t *tcpRelay) listen(r *relay) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.listener != nil {
		return !t.closed
	}
	l, err := t.bound.listen()
	if err != nil {
		return false
	}
	t.listener = l
	r.shard.server.tasks.Go(func() { r.acceptPeers(l) })
	return true
}

func (t *tcpRelay) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.listener != nil {
		_ = t.listener.Close()
	}
	t.bound.close()
}

// publish gives a connection an id that a client can name it by: 32 bits that nobody can guess.
func (s *Server) publish(c *alloc.Conn) uint32 {
	s.ledgerMu.Lock()
	defer s.ledgerMu.Unlock()
	for {
		if id := uint32(random64()); s.ledger.Publish(id, c) {
			return id
		}
	}
}

func (s *Server) withdraw(id uint32) {
	s.ledgerMu.Lock()
	s.ledger.Withdraw(id)
	s.ledgerMu.Unlock()
}

// closeConn closes a connection that was removed from its table.
func (s *Server) closeConn(c *alloc.Conn) {
	if c.ID != 0 {
		s.withdraw(c.ID)
	}
	p := c.Handle.(*peerConn)
	if p.cancel != nil {
		p.cancel()
	}
	switch {
	case p.client != nil: // the Join that has them ends
		_ = p.client.Close()
		_ = p.peer.Close()
	case p.peer != nil:
		refuse(p.peer)
	}
}

// dropConn removes a connection and closes it. Dropping twice is harmless.
func (sh *shard) dropConn(c *alloc.Conn) {
	sh.mu.Lock()
	already := c.State == alloc.Closed
	sh.table.RemoveConn(c)
	sh.mu.Unlock()
	if !already {
		sh.server.closeConn(c)
	}
}

// asTCP returns the socket bare, as the kernel wants it for splicing.
func asTCP(conn net.Conn, err error) (*net.TCPConn, error) {
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return tcp, nil
	}
	_ = conn.Close()
	return nil, errors.New("turn: not a tcp connection")
}
