package conformance

import (
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

var refreshChecks = []check{
	{number: 61, ref: "RFC 8656 §8.2", over: onBoth, run: refreshLifetimes, must: "LIFETIME in Refresh: as in Allocate, but 0 ends the allocation"},
	{number: 62, ref: "RFC 8656 §8.2", over: onBoth, run: refreshFamily, must: "REQUESTED-ADDRESS-FAMILY in Refresh: 443 for another family; of a dual allocation only that half"},
	{number: 63, ref: "RFC 8656 §8.2", over: onBoth, run: refreshHalf, must: "when one half of a dual allocation ends, the other's permissions and channels stay"},
	{number: 64, ref: "RFC 8656 §8.2", over: onUDP, run: expires, must: "an allocation ends with its lifetime, and its port with it"},
}

func refreshLifetimes(p *probe) {
	c := p.dial()
	c.allocate()
	p.lifetimeOf("Refresh without LIFETIME", c.ask(stun.MethodRefresh), 600, 600)
	p.lifetimeOf("Refresh of 5", c.ask(stun.MethodRefresh, withLifetime(5)), 600, 600)
	p.lifetimeOf("Refresh of 900", c.ask(stun.MethodRefresh, withLifetime(900)), 900, 900)
	p.lifetimeOf("Refresh of 4294967295", c.ask(stun.MethodRefresh, withLifetime(1<<32-1)), 600, 3600)
	p.lifetimeOf("Refresh of 0", c.ask(stun.MethodRefresh, withLifetime(0)), 0, 0)
	c.allocated = false
	p.want("Refresh afterwards", c.ask(stun.MethodRefresh), stun.CodeAllocationMismatch)
}

func refreshFamily(p *probe) {
	c := p.dial()
	mine, other := stun.FamilyIPv4, stun.FamilyIPv6
	if c.allocate().Addr().Is6() {
		mine, other = other, mine
	}
	p.want("Refresh of the other family", c.ask(stun.MethodRefresh, withFamily(other), withLifetime(0)), stun.CodePeerFamilyMismatch)
	p.want("Refresh of its family", c.ask(stun.MethodRefresh, withFamily(mine)), success)
	d := p.dial()
	if _, v4, v6 := d.allocateDual(); !v4.IsValid() || !v6.IsValid() {
		p.note = "the server makes no dual allocations"
		return
	}
	p.want("Refresh of 0 for IPv6", d.ask(stun.MethodRefresh, withFamily(stun.FamilyIPv6), withLifetime(0)), success)
	p.want("Refresh of IPv6 afterwards", d.ask(stun.MethodRefresh, withFamily(stun.FamilyIPv6)), stun.CodePeerFamilyMismatch, stun.CodeAllocationMismatch)
	p.want("Refresh of IPv4", d.ask(stun.MethodRefresh, withFamily(stun.FamilyIPv4)), success)
	p.want("Refresh of all", d.ask(stun.MethodRefresh), success)
}

func refreshHalf(p *probe) {
	c := p.dial()
	v4, v6 := c.needDual()
	a, b := p.peerFor(v4), p.peerFor(v6)
	c.bind(0x4000, a.addr)
	c.bind(0x4001, b.addr)
	p.want("Refresh of 0 for IPv6", c.ask(stun.MethodRefresh, withFamily(stun.FamilyIPv6), withLifetime(0)), success)
	c.onChannel(0x4001, []byte("gone"))
	c.onChannel(0x4000, []byte("stays"))
	a.expect("on the channel of IPv4", []byte("stays"))
	b.nothing("on the channel of IPv6")
	a.send(v4, []byte("back"))
	c.fromChannel("on the channel of IPv4", 0x4000, []byte("back"))
	if v6.Addr().IsLoopback() && !p.closedSoon(v6, time.Second) {
		p.failf("expected the port of IPv6 closed, got it open")
	}
}

func expires(p *probe) {
	p.long(600 * time.Second)
	c := p.dial()
	var relayed netip.AddrPort
	begin := time.Now()
	relayed = c.allocate()
	p.sleep(time.Until(begin.Add(597 * time.Second)))
	if p.closedSoon(relayed, 0) {
		p.failf("expected the relayed port open after 597 s, got it closed")
	}
	p.sleep(time.Until(begin.Add(602 * time.Second)))
	p.want("Refresh after 602 s", c.ask(stun.MethodRefresh), stun.CodeAllocationMismatch)
	if !p.closedSoon(relayed, time.Second) {
		p.failf("expected the relayed port closed after 602 s, got it open")
	}
}
