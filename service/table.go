package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"traverse.internal/identity"
)

// Limits of the table and their defaults. A connection holds two goroutines, a socket and 8 KiB to 128 KiB of buffers: 256 of a service are 32 MiB.
const (
	MaxExposed        = 256
	DefaultConns      = 256
	DefaultPerContact = 32
	MaxConns          = 4096
	DefaultIdle       = 24 * time.Hour
)

// Words that a channel is declined with.
const (
	// ReasonUnknown is for what is not exposed, not exposed to this device, or not there: it is not told which.
	ReasonUnknown = "no such service"
	ReasonBusy    = "the service has as many connections as it may"
)

// Exposed is a service that contacts may reach. Zero limits mean the defaults.
type Exposed struct {
	Name       string
	Target     Target
	To         []identity.DeviceID // nobody else; nil: every contact
	PerContact int
	Conns      int
	Idle       time.Duration
}

func (e *Exposed) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.PerContact == 0 {
		e.PerContact = DefaultPerContact
	}
	if e.Conns == 0 {
		e.Conns = DefaultConns
	}
	if e.Idle == 0 {
		e.Idle = DefaultIdle
		if e.Target.Network == "udp" {
			e.Idle = DefaultFlowIdle
		}
	}
	switch {
	case e.PerContact < 0 || e.Conns < 0 || e.Conns > MaxConns || e.PerContact > MaxConns:
		return fmt.Errorf("a service has 1 to %d connections", MaxConns)
	case e.Idle < time.Second:
		return errors.New("an idle time is at least a second")
	}
	return nil
}

func (e *Exposed) reaches(peer identity.DeviceID) bool {
	return e.To == nil || slices.Contains(e.To, peer)
}

// Verdict is the table's decision on a request.
type Verdict int

// The verdicts.
const (
	Denied  Verdict = iota // ReasonUnknown
	Granted                // a Lease comes with it
	Busy                   // ReasonBusy
	Resolve                // the host's addresses are needed: ask again with them
)

// Lease is the leave to dial for one channel. Release it when that has ended.
type Lease struct {
	Exposed Exposed
	Network string
	Address string // what to dial

	release func()
}

// Release gives the connection's place back. Idempotent.
func (l *Lease) Release() { l.release() }

// Table is what is exposed. Nothing is until it is added. Its zero value is empty; it is safe for concurrent use and never blocks.
type Table struct {
	mu   sync.Mutex // guards the field below and the entries
	list []*exposed
}

type exposed struct {
	Exposed
	conns  int
	byPeer map[identity.DeviceID]int
	gone   chan struct{} // closed when it is no longer exposed
	total  uint64
}

// Add exposes a service, in the place of one of that name.
func (t *Table) Add(e Exposed) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := &exposed{Exposed: e, byPeer: map[identity.DeviceID]int{}, gone: make(chan struct{})}
	if i := t.indexLocked(e.Name); i >= 0 {
		close(t.list[i].gone)
		t.list[i] = entry
		return nil
	}
	if len(t.list) >= MaxExposed {
		return fmt.Errorf("service: %d services are exposed, which is the most", MaxExposed)
	}
	t.list = append(t.list, entry)
	return nil
}

// Allow lets one more reach a service, and says whether there is such a service. Connections that it has stay.
func (t *Table) Allow(name string, id identity.DeviceID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.indexLocked(name)
	if i < 0 {
		return false
	}
	if e := t.list[i]; !e.reaches(id) {
		e.To = append(slices.Clone(e.To), id) // those who were given the old one read it
	}
	return true
}

// Remove ends a service; connections that it has end too. It says whether there was one.
func (t *Table) Remove(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.indexLocked(name)
	if i < 0 {
		return false
	}
	close(t.list[i].gone)
	t.list = slices.Delete(t.list, i, i+1)
	return true
}

func (t *Table) indexLocked(name string) int {
	return slices.IndexFunc(t.list, func(e *exposed) bool { return e.Name == name })
}

// Entry is an exposed service and its use.
type Entry struct {
	Exposed
	Open  int    // connections now
	Total uint64 // connections since it was exposed
}

// List returns what is exposed, in the order of Add.
func (t *Table) List() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Entry, len(t.list))
	for i, e := range t.list {
		list[i] = Entry{e.Exposed, e.conns, e.total}
	}
	return list
}

// Permit decides on a request of a device for a service or an address. addrs are those of the request's host, where they are known: a
// range is only ever dialled at an address that was looked at here. The channel returned with a lease is closed when the service is removed.
func (t *Table) Permit(peer identity.DeviceID, r Request, addrs []netip.Addr) (*Lease, <-chan struct{}, Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	address := net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
	resolve := false
	network := map[Kind]string{KindTCP: "tcp", KindUDP: "udp"}[r.Kind] // of an address
	for _, e := range t.list {
		switch {
		case !e.reaches(peer):
		case (r.Kind == KindService || r.Kind == KindDatagrams) && e.Name == r.Name && !e.Target.Range.IsValid():
			if (r.Kind == KindDatagrams) != (e.Target.Network == "udp") {
				return nil, nil, Denied
			}
			return e.leaseLocked(t, peer, e.Target.Network, e.Target.Address)
		case network == "" || e.Target.Network != network:
		case e.Target.Address == address:
			return e.leaseLocked(t, peer, network, address)
		case e.Target.Range.IsValid() && (e.Target.Port == 0 || e.Target.Port == r.Port):
			if a, err := netip.ParseAddr(r.Host); err == nil {
				addrs = []netip.Addr{a}
			}
			resolve = resolve || addrs == nil
			for _, a := range addrs {
				if at := netip.AddrPortFrom(a.Unmap(), r.Port); e.Target.covers(at) {
					return e.leaseLocked(t, peer, network, at.String())
				}
			}
		}
	}
	if resolve {
		return nil, nil, Resolve
	}
	return nil, nil, Denied
}

func (e *exposed) leaseLocked(t *Table, peer identity.DeviceID, network, address string) (*Lease, <-chan struct{}, Verdict) {
	if e.conns >= e.Conns || e.byPeer[peer] >= e.PerContact {
		return nil, nil, Busy
	}
	e.conns++
	e.byPeer[peer]++
	e.total++
	release := sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		e.conns--
		if e.byPeer[peer]--; e.byPeer[peer] == 0 {
			delete(e.byPeer, peer)
		}
	})
	return &Lease{Exposed: e.Exposed, Network: network, Address: address, release: release}, e.gone, Granted
}
