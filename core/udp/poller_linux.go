package udp

import (
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// Poller waits for many sockets at once. Wait is for one goroutine, the rest safe for concurrent use.
type Poller struct {
	epoll, wake descriptor
	stats       *Stats
	events      [BatchLen]unix.EpollEvent
	hold        hold // Wait's

	mu    sync.Mutex // guards the fields below
	slots []pollSlot
	free  []uint32
}

// pollSlot is one socket's place; a generation tells it from who had the place before.
type pollSlot struct {
	owner      any
	generation uint32
}

// watched is where a socket was added.
type watched struct {
	poller *Poller
	token  uint64
}

// wakeToken is the wake descriptor's.
const wakeToken = 1<<64 - 1

// NewPoller returns a Poller without sockets.
func NewPoller(stats *Stats) (*Poller, error) {
	p := &Poller{stats: stats}
	var err error
	if p.epoll.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("udp: epoll: %w", err)
	}
	if p.wake.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.epoll.close()
		return nil, fmt.Errorf("udp: eventfd: %w", err)
	}
	if err = p.watch(p.wake.fd, wakeToken); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Poller) watch(fd int, token uint64) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	if err := unix.EpollCtl(p.epoll.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("udp: epoll: %w", err)
	}
	return nil
}

// Add has Wait tell of a socket, by its owner, until the socket is closed. A socket is added to one Poller, once.
func (p *Poller) Add(c *Conn, owner any) error {
	if !p.epoll.use() {
		return net.ErrClosed
	}
	defer p.epoll.done()
	if !c.use() {
		return net.ErrClosed
	}
	defer c.done()
	token := p.reserve(owner)
	c.watched.Store(&watched{p, token})
	err := p.watch(c.fd, token)
	if err != nil || c.closing() { // who closes it now may have looked before it was stored
		p.forget(token)
	}
	return err
}

func (p *Poller) reserve(owner any) (token uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var i uint32
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else {
		i = uint32(len(p.slots))
		p.slots = append(p.slots, pollSlot{})
	}
	p.slots[i].owner = owner
	return uint64(p.slots[i].generation)<<32 | uint64(i)
}

// forget gives a socket's place to others.
func (p *Poller) forget(token uint64) {
	i, generation := uint32(token), uint32(token>>32)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.slots[i]
	if s.generation != generation {
		return
	}
	s.owner = nil
	s.generation++
	if s.generation == wakeToken>>32 {
		s.generation = 0
	}
	p.free = append(p.free, i)
}

// Wait waits until sockets have something, and writes which ones. The error is net.ErrClosed, or that of a Poller that is
// broken.
func (p *Poller) Wait(ready []Ready) (int, error) {
	if !p.epoll.use() {
		return 0, net.ErrClosed
	}
	defer p.epoll.done()
	if !p.wake.use() {
		return 0, net.ErrClosed
	}
	defer p.wake.done() // closed earlier it would wake nobody
	for {
		p.stats.Waits.Add(1)
		n, err := p.next(p.events[:min(len(ready), len(p.events))])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("udp: epoll: %w", err)
		}
		count, closed := p.owners(p.events[:n], ready)
		if closed {
			return 0, net.ErrClosed
		}
		if count > 0 {
			return count, nil
		}
	}
}

// owners looks up whose the events are; some may be of sockets that are gone.
func (p *Poller) owners(events []unix.EpollEvent, ready []Ready) (count int, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		e := &events[i]
		token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
		if token == wakeToken {
			return 0, true
		}
		s := &p.slots[uint32(token)]
		if s.generation == uint32(token>>32) && s.owner != nil {
			ready[count] = Ready{Owner: s.owner, Failed: e.Events&unix.EPOLLERR != 0}
			count++
		}
	}
	return count, false
}

// Close ends Wait. The sockets stay open.
func (p *Poller) Close() error {
	if p.wake.use() {
		_, _ = unix.Write(p.wake.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		p.wake.done()
	}
	p.epoll.close()
	p.wake.close()
	return nil
}
