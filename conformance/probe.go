package conformance

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// probe is one run of one check: at one address, on one transport. It belongs to one goroutine.
type probe struct {
	ctx    context.Context
	config *Config
	server netip.AddrPort
	tcp    bool
	note   string // what a passed check wants to be known
	undo   []func()
}

// failure and skipped end a check; try recovers them.
type (
	failure string
	skipped string
	unseen  string
)

func (p *probe) failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }
func (p *probe) skipf(format string, args ...any) { panic(skipped(fmt.Sprintf(format, args...))) }

// must ends the check when the suite's own side fails: that says nothing about the server.
func (p *probe) must(err error) {
	if err != nil {
		p.skipf("this machine: %v", err)
	}
}

// try runs a check and cleans up behind it.
func (p *probe) try(run func(*probe)) (status Status, detail string) {
	defer func() {
		switch end := recover().(type) {
		case nil:
		case failure:
			status, detail = Fail, string(end)
		case skipped:
			status, detail = Skip, string(end)
		case unseen:
			status, detail = Unseen, string(end)
		default:
			panic(end)
		}
	}()
	defer func() {
		for i := len(p.undo) - 1; i >= 0; i-- {
			p.undo[i]()
		}
	}()
	run(p)
	return Pass, p.note
}

// atEnd has something done when the check is over.
func (p *probe) atEnd(do func()) { p.undo = append(p.undo, do) }

// where names address and transport.
func (p *probe) where() string {
	if p.tcp && p.config.Secure {
		return "tls " + p.server.String()
	}
	if p.tcp {
		return "tcp " + p.server.String()
	}
	if p.config.Datagrams {
		return "dtls " + p.server.String()
	}
	return "udp " + p.server.String()
}

// long skips what takes longer than a run without Long may.
func (p *probe) long(d time.Duration) {
	if !p.config.Long {
		p.skipf("takes %v: --long", d)
	}
}

// sleep waits for time to pass at the server, which nothing on the wire tells.
func (p *probe) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
		p.skipf("the run was ended")
	}
}

// secondUser are the credentials of another user.
func (p *probe) secondUser() (user, password string) {
	if p.config.OtherUser == "" {
		p.skipf("needs a second user: --other-user and --other-pass")
	}
	return p.config.OtherUser, p.config.OtherPassword
}

// peerIP returns the address of this machine for peers of a family.
func (p *probe) peerIP(f stun.Family) netip.Addr {
	if p.config.noPeers {
		p.skipf("the server forbids peers on this machine: --peer, or allow them there")
	}
	if ip := p.config.Peer; ip.IsValid() && stun.FamilyOf(ip) == f {
		return ip.Unmap()
	}
	if p.server.Addr().IsLoopback() {
		if f == stun.FamilyIPv4 {
			return netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		return netip.IPv6Loopback()
	}
	for _, s := range p.config.Servers {
		if stun.FamilyOf(s.Addr()) != f {
			continue
		}
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s)) // sends nothing
		p.must(err)
		defer conn.Close()
		return addrPort(conn.LocalAddr()).Addr()
	}
	p.skipf("no %v address for a peer here: --peer", f)
	return netip.Addr{}
}

// addrPort returns a socket's address, unmapped and without a zone.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// network returns the name that package net has for a transport and family.
func network(transport string, ip netip.Addr) string {
	if ip.Is4() {
		return transport + "4"
	}
	return transport + "6"
}
