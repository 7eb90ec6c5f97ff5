package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Routers tell the hosts at their link when they have lost what they had lent: RFC 6887 §14.1 by ANNOUNCE, RFC 6886 §3.2.1 by their new address. Without
// listening a mapping is found gone at its renewal, an hour later.
const (
	announcePort = 5350
	// announceRest is how long after a renewal the next announcement counts: anybody at the link can send one in the router's name.
	announceRest = 5 * time.Second
)

// Where announcements go: all hosts of the link.
var announced = map[bool]netip.Addr{false: netip.MustParseAddr("224.0.0.1"), true: netip.MustParseAddr("ff02::1")}

// epoch is the router's clock, in seconds since it lost its mappings for the last time, and when it said so: RFC 6887 §8.5, RFC 6886 §3.6.
type epoch struct {
	seconds uint32
	at      time.Time // zero: it has not said so
}

// lost reports whether a router that says now has begun anew since, by RFC 6887 §8.5: its clock went back, or does not go as ours does.
func (e epoch) lost(now epoch) bool {
	if e.at.IsZero() {
		return true
	}
	theirs, ours := int64(now.seconds)-int64(e.seconds), int64(now.at.Sub(e.at)/time.Second)
	return theirs < -1 || ours+2 < theirs-theirs/16 || theirs+2 < ours-ours/16
}

// parseAnnounce reads what a router tells all hosts: its epoch, and by NAT-PMP its address.
func parseAnnounce(b []byte) (seconds uint32, outside netip.Addr, err error) {
	switch {
	case len(b) >= 24 && len(b) <= maxMessage && len(b)%4 == 0 && b[0] == pcpVersion && b[1] == 0x80 && b[3] == 0:
		return binary.BigEndian.Uint32(b[8:]), netip.Addr{}, nil
	case len(b) == 12 && pmpResult(b, 0) == nil:
		return binary.BigEndian.Uint32(b[4:]), netip.AddrFrom4([4]byte(b[8:12])), nil
	}
	return 0, netip.Addr{}, errAnswer
}

// listen waits for the router's word that the mapping is gone, until stop is called; told is closed then. Where nobody can listen there is no word.
func (m *Mapper) listen() (told <-chan struct{}, stop func()) {
	m.mu.Lock()
	now := m.now
	m.mu.Unlock()
	router := now.router
	if now.how == "" {
		var err error
		if router, _, err = m.cfg.gateway(m.cfg.V6); err != nil {
			return nil, func() {}
		}
	}
	conn, err := m.cfg.announcements(m.cfg.V6, now.ours)
	if err != nil {
		return nil, func() {}
	}
	news, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		m.hear(conn, router, now, news)
	}()
	return news, func() {
		_ = conn.Close()
		<-ended
	}
}

// hear reads announcements until the first that counts, or until the socket is closed.
func (m *Mapper) hear(conn *net.UDPConn, router netip.Addr, now lease, news chan<- struct{}) {
	b := make([]byte, maxMessage+1)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || from.Addr().Unmap().WithZone("") != router.WithZone("") {
			continue
		}
		seconds, outside, err := parseAnnounce(b[:n])
		if err != nil {
			continue
		}
		moved := outside.IsValid() && outside != now.outside.Addr()
		back := seconds < now.epoch.seconds // the second that packets may pass each other by is no matter here: renewing is harmless
		if moved || back || now.epoch.lost(epoch{seconds, time.Now()}) {
			close(news)
			return
		}
	}
}

// rest waits until a renewal that an announcement asks for may be made.
func (m *Mapper) rest(ctx context.Context, since time.Time) {
	t := time.NewTimer(m.cfg.rest - time.Since(since))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// announcements opens a socket for them, at the interface that has an address of ours. Other programs listen there too.
func announcements(v6 bool, ours netip.Addr) (*net.UDPConn, error) {
	network := "udp4"
	if v6 {
		network = "udp6"
	}
	return net.ListenMulticastUDP(network, interfaceOf(ours), &net.UDPAddr{IP: announced[v6].AsSlice(), Port: announcePort})
}

// interfaceOf is the interface that has an address, nil where none has.
func interfaceOf(at netip.Addr) *net.Interface {
	all, _ := net.Interfaces() // without the list the system chooses
	for i := range all {
		addrs, _ := all[i].Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == at.Unmap().WithZone("") {
				return &all[i]
			}
		}
	}
	return nil
}
