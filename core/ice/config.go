package ice

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"traverse.internal/core/turnclient"
)

// Relay is a TURN server that lends us TCP allocations (RFC 6062), or UDP ones (RFC 8656) where it has no others.
type Relay struct {
	Server   string // host:port; a name is resolved at every Gather
	Username string
	Password string
	TLS      *turnclient.TLS // nil: plain TCP
}

// Config says how an Endpoint finds paths. The zero Config listens on every interface and has no relay.
type Config struct {
	Policy Policy // which paths we want; default Auto
	// Without are kinds of ways that are neither offered nor tried. Default 0: all are.
	Without Rungs
	// UDPFirst gives UDP the head start over TCP where this side calls. Default false: TCP has it.
	UDPFirst bool
	// RelayUDP has relays asked for UDP ports beside TCP ones from the start. Default false: where TCP ones are of no use.
	RelayUDP bool
	Relays   []Relay

	// Addrs are the addresses to listen on, to offer, and to dial from. Default nil: the listeners are on the wildcard
	// address, and those of all interfaces that are up when an attempt gathers are offered.
	Addrs []netip.Addr
	// Loopback lets 127.0.0.0/8 and ::1 be offered and dialled, relays included. It is for tests, demos and several
	// devices on one machine: without it a peer cannot make us talk to our own loopback.
	Loopback bool
	// Port is the TCP port of all listeners, of both families. Default 0: a free one is chosen, the same for both.
	Port uint16

	// Mapped says which address on the outside the router maps to the listeners' port at the moment, and how; the zero values
	// are none. It is called often and must not wait. nil: none.
	Mapped func() (netip.AddrPort, Mapping)
	// MappedUDP is the same for the port of the UDP sockets. nil: none.
	MappedUDP func() netip.AddrPort
	// TCPOnly opens no UDP sockets. Default false: they have the number of the TCP port, where that is free.
	TCPOnly bool
	// STUN are servers, host:port, that say over UDP how they see us. Default nil: the Relays without TLS, of which each is one.
	STUN []string

	Capabilities uint64 // stated in every Offer; default 0

	GatherTimeout      time.Duration // for relay allocations while there is a direct candidate; default 2 s
	RelayGatherTimeout time.Duration // for relay allocations with RelayOnly or nothing else to offer; default 5 s
	RelayAfter         time.Duration // head start of direct paths over relayed ones; default 150 ms
	RelayHold          time.Duration // the same once a direct connection is up and being checked; default 1 s
	NegotiateTimeout   time.Duration // limit of Negotiate when its context has none that is shorter; default 20 s
	FirstFrame         time.Duration // how long an accepted connection may take to say whose it is; default 5 s

	MaxAttempts int // at once; Gather fails with ErrBusy beyond. Default 256, each with at most 64 connections
	MaxUnrouted int // accepted connections that have not said whose they are; a further one takes the place of the oldest of the source that has most. Default 256

	keepalive time.Duration // of the ICE agent, for tests; default 0, none
	window    time.Duration // retryWindow, but in tests
	// allocate makes an allocation; tests have another than allocateTURN.
	allocate func(ctx context.Context, r Relay, v6 bool) (lender, error)
	// allocateDatagrams does the same over UDP; nil with an allocate of a test's: none.
	allocateDatagrams func(ctx context.Context, r Relay, v6, packets bool, receive func(netip.AddrPort, []byte)) (datagramLender, error)
}

// Limits that are not configurable.
const (
	maxServers    = MaxRelays / 2  // relays that are used, each with an allocation per family
	maxStreams    = 64             // connections of one attempt: 16 candidates and 4 relays, both ways, and some retries
	maxTaken      = 4 * maxStreams // accepted by one attempt, those that ended included: the agent remembers the address of each
	maxPerSource  = 64             // unrouted connections from one IP address (IPv6: one /64)
	checkInterval = 20 * time.Millisecond
)

// withDefaults returns c with every zero replaced by its default.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.GatherTimeout, 2*time.Second)
	set(&c.RelayGatherTimeout, 5*time.Second)
	set(&c.RelayAfter, 150*time.Millisecond)
	set(&c.RelayHold, time.Second)
	set(&c.NegotiateTimeout, 20*time.Second)
	set(&c.FirstFrame, 5*time.Second)
	set(&c.window, retryWindow)
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 256
	}
	if c.MaxUnrouted == 0 {
		c.MaxUnrouted = 256
	}
	if c.allocate == nil {
		c.allocate, c.allocateDatagrams = allocateTURN, allocateDatagrams
	}
	return c
}

// check names the first thing that is wrong.
func (c *Config) check() error {
	if int(c.Policy) >= len(policyNames) {
		return fmt.Errorf("ice: %v is no policy", c.Policy)
	}
	if err := CheckRelays(c.Relays); err != nil {
		return err
	}
	if len(c.Addrs) > MaxHosts {
		return fmt.Errorf("ice: %d addresses, at most %d are offered", len(c.Addrs), MaxHosts)
	}
	for i, a := range c.Addrs {
		a = a.Unmap()
		if what := checkAddr(a); what != "" {
			return fmt.Errorf("ice: cannot listen on %v: %s", a, what)
		}
		if a.IsLoopback() && !c.Loopback {
			return fmt.Errorf("ice: cannot listen on %v: loopback is off", a)
		}
		for _, b := range c.Addrs[:i] {
			if a == b.Unmap() {
				return fmt.Errorf("ice: address %v is there twice", a)
			}
		}
	}
	return nil
}
