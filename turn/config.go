package turn

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"traverse.internal/identity"
	"traverse.internal/turn/alloc"
	"traverse.internal/turn/push"
)

// Config says where the server listens, whom it serves and what they may do. The zero value of a field means its
// default.
type Config struct {
	// ListenUDP and ListenTCP are the addresses to listen on; port 0 means any. An unspecified address (0.0.0.0, [::])
	// stands for its own family, an AddrPort with a port but no address for both. None: not over this transport. At least
	// one is needed.
	ListenUDP, ListenTCP []netip.AddrPort
	// ListenTLS is as ListenTCP, with the certificate (PEM, the chain after it) and key of CertFile and KeyFile. They are
	// read again when they change; while they are wrong the old ones stay.
	ListenTLS         []netip.AddrPort
	CertFile, KeyFile string
	// Certificates are where the certificate comes from instead of the files.
	Certificates Certificates
	// ListenDTLS is as ListenUDP, with the same certificate. MaxStreams and MaxStrangers, FirstMessage and Unallocated hold
	// for its clients as they do for TCP connections.
	ListenDTLS []netip.AddrPort

	// Inherited are sockets that are bound already, such as a service manager's. New uses them up. One that nobody asks for
	// is closed.
	Inherited []Inherited

	// ProxyFrom are networks whose TCP and TLS connections begin with a header of the PROXY protocol, version 1 or 2, which
	// says who the client is. Nobody else's header is believed, and theirs must be there.
	ProxyFrom []netip.Prefix

	// Realm is what users' keys are bound to. Default "traverse".
	Realm string
	// Users who may allocate: name to password. None: nobody. SetUsers replaces them while the server runs.
	Users map[string]string
	// Keys are users whose passwords are not known, by name; a name in Users wins.
	Keys map[string]Keys
	// Secrets accept time-limited credentials, as Mint makes them. At most 4: the present one, and old ones for a while.
	Secrets []string

	// Devices may allocate by their certificate, over TLS, with their id as the name and a password that both ends derive
	// from the connection.
	Devices []identity.DeviceID

	// RelayIP4 and RelayIP6 are the local addresses on which relayed addresses are made. A family without one is
	// answered with 440. At least one is needed.
	RelayIP4, RelayIP6 netip.Addr
	// AdvertisedIP4 and AdvertisedIP6 are told to clients instead, for a server behind a one-to-one NAT.
	AdvertisedIP4, AdvertisedIP6 netip.Addr
	// PortMin and PortMax bound the ports of relayed addresses, both included. Default 49152 to 65535, RFC 8656 §7.2.
	// When they are used up, or an operating system's own use leaves none, requests get 508.
	PortMin, PortMax uint16

	// AllowPeers lifts the default denials for addresses in them; DenyPeers adds denials and wins over AllowPeers.
	AllowPeers, DenyPeers []netip.Prefix
	// OwnRelays permits relayed addresses of this server to be peers of each other, even where AllowPeers does not name
	// the relay's address; other ports of that address stay denied.
	OwnRelays bool
	// DenyEndpoints are never relayed to, whatever AllowPeers says: administration and metrics ports. Our own listeners
	// are always among them.
	DenyEndpoints []netip.AddrPort

	// Alternates are where clients are sent with 300 while the server drains, the first of the client's family. None: 508.
	Alternates []netip.AddrPort

	// StrictChannels refuses the channel numbers from 0x5000 to 0x7fff, which RFC 5766 had and RFC 8656 §12 gave up. Some
	// clients still draw from all of them, coturn's tools among them, and give up when they are refused.
	StrictChannels bool

	// NoUDPRelays leaves only TCP allocations; others get 403. RFC 6062 §5.1.
	NoUDPRelays bool
	// NoTCPRelays leaves only UDP allocations; who asks for others gets 442.
	NoTCPRelays bool

	// Mobility lets a client take its UDP allocation along to another address, RFC 8016; without it such a wish gets 405. All
	// work is then one shard's, as a client that has moved must be known there.
	Mobility bool
	// MobilityGrace is how long such an allocation stays after its TCP connection has ended. Default 30 s.
	MobilityGrace time.Duration

	// RelayMode says whether UDP allocations have ports of their own, or share as many as the range has: for firewalls that open
	// only a few. Two allocations of one relayed address cannot have the same peer, address and port; there is no EVEN-PORT with
	// a reservation, and no DONT-FRAGMENT. Default RelayPort.
	RelayMode RelayMode

	// Offload relays the channels of UDP clients past this process. None: it does not. Who made it closes it, after Serve.
	Offload Offloader
	// OtherUDP are the other addresses for the discovery of NAT behaviour, RFC 5780, one a family at most: another IP address and
	// another port than the first of ListenUDP of that family has, which then names its address, too. Over UDP the server
	// listens at all four combinations. None: no discovery.
	OtherUDP []netip.AddrPort

	// Push lets users register for signalling by push, at every TCP and TLS listener, and anybody hand in who knows a mailbox of
	// theirs: docs/protocol/push.md.
	Push bool
	// PushLimits are its limits.
	PushLimits push.Limits

	// Shards share the work. Default one a core.
	Shards int
	// Limits of allocations and of what hangs on them.
	Limits alloc.Limits

	// FleetKeys are secrets that several servers share, so that each takes the nonces of the others: the first makes them,
	// all check. At most 4. None: a secret of this process.
	FleetKeys []string
	// NonceLifetime is how long a nonce is good. Default 30 minutes, at most one hour.
	NonceLifetime time.Duration
	// FirstMessage is how long a TCP connection may take for its first whole message. Default 10 s; it is closed then.
	FirstMessage time.Duration
	// Unallocated is how long a TCP connection may be open without an allocation and without being a data connection, and
	// how long a message may take from its first byte to its last. Default 30 s; it is closed then.
	Unallocated time.Duration
	// MaxStreams is how many TCP connections may be open. Default 12,000: with a relay socket each they stay below
	// 20,000 descriptors together with 8,000 peers. More are closed at once.
	MaxStreams int
	// MaxStrangers is how many of them may be unauthenticated, and a quarter of it how many of one IPv4 /24 or IPv6 /56.
	// Default 1,024: at 10 s each a hundred new ones a second, and 1,024 × 20 KiB are 20 MiB. More are closed at once.
	MaxStrangers int
	// StreamBacklog is how many bytes wait for a slow TCP client before datagrams for it are dropped. Default 256 KiB, the
	// smallest that is allowed: four datagrams of the largest size.
	StreamBacklog int
	// StrangerRate is how many answers a second an unauthenticated source gets over UDP, by IPv4 /24 and IPv6 /56, in
	// bursts of five times as many. Default 200. Beyond it there is silence. Loopback sources are not counted.
	StrangerRate int
	// DialTimeout of a Connect. Default 30 s, RFC 6062 §5.2.
	DialTimeout time.Duration
	// DataIdle ends a pair of data connections on which nothing moved for so long. Default 0: never, because the
	// allocation's lifetime and TCP keep-alive end what is dead.
	DataIdle time.Duration
}

// processors is how many there were at the start: a program may give the runtime more later, as turnd does.
var processors = runtime.GOMAXPROCS(0)

// withDefaults returns the configuration with every zero field filled in, and relay addresses unmapped.
func (c Config) withDefaults() Config {
	c = c.instead()
	def := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	number := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if c.Realm == "" {
		c.Realm = "traverse"
	}
	if c.PortMin == 0 && c.PortMax == 0 {
		c.PortMin, c.PortMax = 49152, 65535
	}
	if c.Mobility {
		c.Shards = 1
	}
	number(&c.Shards, processors)
	if c.RelayMode == RelayShared {
		c.Shards = min(c.Shards, int(c.PortMax)-int(c.PortMin)+1) // each takes a port
	}
	number(&c.MaxStreams, 12_000)
	number(&c.MaxStrangers, 1024)
	number(&c.StreamBacklog, 256<<10)
	number(&c.StrangerRate, 200)
	def(&c.NonceLifetime, 30*time.Minute)
	def(&c.FirstMessage, 10*time.Second)
	def(&c.Unallocated, 30*time.Second)
	def(&c.MobilityGrace, 30*time.Second)
	def(&c.DialTimeout, 30*time.Second)
	if c.Limits.MaxChannel == 0 && !c.StrictChannels {
		c.Limits.MaxChannel = 0x7fff
	}
	c.Limits = c.Limits.WithDefaults()
	for _, addr := range []*netip.Addr{&c.RelayIP4, &c.RelayIP6, &c.AdvertisedIP4, &c.AdvertisedIP6} {
		*addr = addr.Unmap()
	}
	return c
}

// Check says what New would refuse, as far as that can be known without opening a socket.
func (c Config) Check() error {
	c = c.withDefaults()
	if err := c.check(); err != nil || c.CertFile == "" {
		return err
	}
	return newCertificate(c).load()
}

// check names the first thing that is wrong with a configuration that has its defaults.
func (c Config) check() error {
	if len(c.ListenUDP)+len(c.ListenTCP)+len(c.ListenTLS)+len(c.ListenDTLS) == 0 {
		return errors.New("turn: no address to listen on")
	}
	if len(c.ListenTLS)+len(c.ListenDTLS) > 0 && c.Certificates == nil && (c.CertFile == "" || c.KeyFile == "") {
		return errors.New("turn: listening over tls or dtls takes a certificate and a key")
	}
	if len(c.FleetKeys) > maxSecrets {
		return fmt.Errorf("turn: %d fleet keys, at most %d", len(c.FleetKeys), maxSecrets)
	}
	if !c.RelayIP4.IsValid() && !c.RelayIP6.IsValid() {
		return errors.New("turn: no relay address")
	}
	for _, ip := range []struct {
		name string
		addr netip.Addr
		is4  bool
	}{
		{"IPv4 relay", c.RelayIP4, true},
		{"IPv6 relay", c.RelayIP6, false},
		{"IPv4 advertised", c.AdvertisedIP4, true},
		{"IPv6 advertised", c.AdvertisedIP6, false},
	} {
		if ip.addr.IsValid() && (ip.addr.Is4() != ip.is4 || ip.addr.IsUnspecified() || ip.addr.IsMulticast()) {
			return fmt.Errorf("turn: %v cannot be the %s address", ip.addr, ip.name)
		}
	}
	if c.PortMin < 1024 || c.PortMin > c.PortMax { // RFC 8656 §7.2: no well-known ports
		return fmt.Errorf("turn: port range %d-%d is not within 1024-65535", c.PortMin, c.PortMax)
	}
	if strings.ContainsAny(c.Realm, "\"\\\x00") || len(c.Realm) > 127 {
		return fmt.Errorf("turn: realm %q has quotes, or is longer than 127 bytes", c.Realm)
	}
	if len(c.Secrets) > maxSecrets || slices.Contains(c.Secrets, "") {
		return fmt.Errorf("turn: there are more than %d secrets, or an empty one", maxSecrets)
	}
	if c.NonceLifetime < time.Second || c.NonceLifetime > time.Hour {
		return fmt.Errorf("turn: nonce lifetime %v is not within a second and an hour", c.NonceLifetime)
	}
	if c.StreamBacklog < 256<<10 {
		return fmt.Errorf("turn: stream backlog %d is less than 256 KiB", c.StreamBacklog)
	}
	if c.Shards < 1 || c.MaxStreams < 1 || c.MaxStrangers < 1 || c.StrangerRate < 1 {
		return errors.New("turn: a limit is negative")
	}
	if c.FirstMessage < 0 || c.Unallocated < 0 || c.DialTimeout < 0 || c.MobilityGrace < 0 || c.DataIdle < 0 {
		return errors.New("turn: a time-out is negative")
	}
	if err := c.checkOthers(); err != nil {
		return err
	}
	return c.Limits.Check()
}
