package dht

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"golang.org/x/time/rate"
)

// Config says which DHT a Node belongs to.
type Config struct {
	Mode   Mode           // required
	Listen netip.AddrPort // UDP; the zero address means all of them, port 0 any free port

	// Bootstrap are host:port of nodes to begin with. Private: none means that this node waits until another one
	// bootstraps from it. Mainline: none means DefaultBootstrap. Names are resolved again for every attempt.
	Bootstrap []string

	// PublicIP is this host's public address, if it is known: then the node id follows from it (BEP 42), and nodes
	// that insist on that keep this one in their tables. Without it they only answer. Mainline only.
	PublicIP netip.Addr

	// Resolve finds the addresses of a host; nil: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	open   func(netip.AddrPort) (socket, error) // tests: another socket than UDP
	resend time.Duration                        // tests: another pace.resend
}

// DefaultBootstrap are the well-known nodes that introduce others into Mainline.
func DefaultBootstrap() []string {
	return []string{
		"router.bittorrent.com:6881",
		"router.utorrent.com:6881",
		"dht.transmissionbt.com:6881",
		"dht.libtorrent.org:25401",
		"dht.aelitis.com:6881",
		"router.silotis.us:6881",
	}
}

// check fills in defaults and names the first thing that is wrong.
func (c *Config) check() error {
	if c.Mode != Private && c.Mode != Mainline {
		return errors.New("dht: config: mode is neither private nor mainline")
	}
	if c.Mode == Mainline && len(c.Bootstrap) == 0 {
		c.Bootstrap = DefaultBootstrap()
	}
	for _, hp := range c.Bootstrap {
		host, port, err := net.SplitHostPort(hp)
		if err != nil || host == "" || port == "" {
			return fmt.Errorf("dht: config: bootstrap node %q is not host:port", hp)
		}
	}
	if c.Mode == Private && c.PublicIP.IsValid() {
		return errors.New("dht: config: a private node's id does not follow from its address")
	}
	if c.PublicIP.IsValid() && !Mainline.allowsNode(netip.AddrPortFrom(c.PublicIP, 1)) {
		return fmt.Errorf("dht: config: %s is not a public address", c.PublicIP)
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.open == nil {
		c.open = openUDP
	}
	return nil
}

func openUDP(addr netip.AddrPort) (socket, error) {
	network := "udp" // both families where the system has both
	if a := addr.Addr(); a.Is4() || a.Is4In6() {
		network = "udp4"
	}
	sock, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, &ListenError{Addr: addr, Err: err}
	}
	return sock, nil
}

// pace is how a mode uses the network.
type pace struct {
	resend     time.Duration // a query is sent again after this, and given up after as much again
	tries      int
	send       rate.Limit    // packets a second, bursts of as many
	joinMin    time.Duration // pause after a first attempt to join that found nobody; doubles
	joinMax    time.Duration
	refresh    time.Duration // between two joins once nodes answer
	avoid      time.Duration // a node that did not answer is left alone for so long; doubles
	early      time.Duration // a put that still looks for the nearest nodes after this is written to those that answered
	noSecurity bool          // node ids are free
}

// paces: loopback and a LAN answer within milliseconds, the Internet within a second. 2,000 packets a second are 2 % of
// one core; 100 on Mainline are 0.3 Mbit/s up, what a household's line has to spare. Bursts let one walk (some 40
// packets) through at once.
var paces = map[Mode]pace{
	Private: {
		resend: 250 * time.Millisecond, tries: 3, send: 2000,
		joinMin: 100 * time.Millisecond, joinMax: 2 * time.Second, refresh: time.Minute, avoid: 2 * time.Second, early: 50 * time.Millisecond, noSecurity: true,
	},
	Mainline: {
		resend: time.Second, tries: 2, send: 100,
		joinMin: time.Second, joinMax: time.Minute, refresh: 10 * time.Minute, avoid: 30 * time.Second, early: time.Second,
	},
}

// serverConfig is what the library is told. Nothing in it is its default: its limiter is one for the whole process, its
// expiry of a config made by hand is zero, its logger writes to stderr.
func (n *Node) serverConfig() *mainline.ServerConfig {
	c := &mainline.ServerConfig{
		Conn:             n.conn,
		NoSecurity:       n.pace.noSecurity,
		StartingNodes:    n.startingNodes,
		OnQuery:          n.onQuery,
		QueryResendDelay: func() time.Duration { return n.pace.resend },
		Store:            n.store,
		Exp:              itemExpiry,
		Logger:           quiet(),
		SendLimiter:      rate.NewLimiter(n.pace.send, int(n.pace.send)),
	}
	if n.cfg.PublicIP.IsValid() {
		c.PublicIP = n.cfg.PublicIP.AsSlice()
	}
	return c
}
