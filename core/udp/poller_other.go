//go:build !linux

package udp

import (
	"errors"
	"net"
	"sync"
)

// Poller waits for many sockets at once; here by a goroutine each. Wait is for one goroutine, the rest safe for concurrent
// use.
type Poller struct {
	stats  *Stats
	ready  chan Ready
	closed chan struct{}
	once   sync.Once // closes closed
}

// NewPoller returns a Poller without sockets.
func NewPoller(stats *Stats) (*Poller, error) {
	return &Poller{stats: stats, ready: make(chan Ready), closed: make(chan struct{})}, nil
}

// Add has Wait tell of a socket, by its owner, until the socket is closed. A socket is added to one Poller, once.
func (p *Poller) Add(c *Conn, owner any) error {
	go p.readLoop(c, owner)
	return nil
}

// readLoop reads one datagram and waits until it is taken.
func (p *Poller) readLoop(c *Conn, owner any) {
	buf := make([]byte, MaxPacket)
	for {
		n, from, err := c.udp.ReadFromUDPAddrPort(buf)
		c.waiting.Store(&arrival{buf[:n], from, err})
		select {
		case p.ready <- Ready{Owner: owner}:
		case <-p.closed:
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case <-c.taken:
		case <-p.closed:
			return
		}
	}
}

// Hold has no effect here: a goroutine that waits for a channel keeps no processor.
func (p *Poller) Hold() {}

// Wait waits until a socket has something, and writes which one. The error is net.ErrClosed.
func (p *Poller) Wait(ready []Ready) (int, error) {
	p.stats.Waits.Add(1)
	select {
	case ready[0] = <-p.ready:
		return 1, nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

// Close ends Wait. The sockets stay open.
func (p *Poller) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}
