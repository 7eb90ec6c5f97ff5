package dht

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxAvoided = 1024 // addresses remembered; a routing table has at most 160 * 8, and far fewer in practice
	avoidMost  = 5 * time.Minute
)

// avoidList remembers addresses that did not answer, so that a dead node costs its time-out once and not in every walk:
// the library itself gives up a node only after a quarter of an hour. Any packet from the address clears it. The zero
// value is ready.
type avoidList struct {
	mu    sync.Mutex // guards the field below
	nodes map[netip.AddrPort]avoided
}

type avoided struct {
	until time.Time
	pause time.Duration
}

// failed leaves addr alone for first, and twice as long each time.
func (l *avoidList) failed(now time.Time, addr netip.AddrPort, first time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes == nil {
		l.nodes = map[netip.AddrPort]avoided{}
	}
	pause := first
	if old, ok := l.nodes[addr]; ok {
		pause = min(2*old.pause, avoidMost)
	} else if len(l.nodes) >= maxAvoided {
		for other := range l.nodes { // any one: it costs one time-out at most
			delete(l.nodes, other)
			break
		}
	}
	l.nodes[addr] = avoided{until: now.Add(pause), pause: pause}
}

func (l *avoidList) alive(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.nodes, addr)
}

func (l *avoidList) skip(now time.Time, addr netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.nodes[addr]
	return ok && now.Before(a.until)
}

// silent reports whether addr did not answer when it was last asked.
func (l *avoidList) silent(addr netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.nodes[addr]
	return ok
}
