package config

import (
	"net/netip"
	"strings"
	"time"
)

// Config is what Load returns: every key has a value, checked.
type Config struct {
	Identity   Identity
	Node       Node
	DHT        DHT
	Signalling Signalling
	Path       Path
	Relays     []Relay
	Transfer   Transfer
	Accept     Accept
	API        API
	Metrics    Metrics
	Log        Log
	Turnd      Turnd

	// UnknownEnv lists variables that begin with TRAVERSE_ and are no key's. They are not an error, since a container's
	// environment can hold some for other reasons (Kubernetes adds TRAVERSE_PORT beside a service of that name), but a
	// program should name them.
	UnknownEnv []string

	origins map[string]Origin
}

// Identity is where the device key is.
type Identity struct {
	Dir string // "" means in the home
}

// Node is the peer endpoint.
type Node struct {
	Name        string           // "" means the short device id
	Listen      []netip.AddrPort // TCP addresses for paths; an invalid Addr means every interface. All have one port
	DownloadDir string           // "" means in the home
	PortMapping string           // "auto" or "off"
	LAN         bool             // look for contacts on the link, and be found there
	Push        string           // "auto" or "off"
	DrainGrace  time.Duration    // how long transfers may go on after SIGTERM
}

// Signalling is how long a call to another device waits.
type Signalling struct {
	Timeout  time.Duration // for its answer
	Patience time.Duration // for a device that has published no presence that holds
}

// DHT is where devices are found.
type DHT struct {
	Mode      string // "mainline" or "private"
	Listen    netip.AddrPort
	Bootstrap []string // host:port
}

// Path is which ways to a peer are wanted.
type Path struct {
	Policy     string        // "auto", "direct-only" or "relay-only"
	Transports string        // "auto" or "tcp-only"
	Order      []string      // kinds of ways that are used, best first: rungs
	RelayAfter time.Duration // head start of direct paths over relayed ones
	RelayUDP   string        // "auto" or "always"
	Repunch    Span          // pauses between tries for a direct path of a relayed session
	STUN       []string      // host:port
	Upgrade    bool          // sessions over a relay move to a direct path when there is one
	Warm       time.Duration // for how long their relayed link is kept then
}

// Relay is a TURN server that the node may use.
type Relay struct {
	URL          string // turn:USER@HOST:PORT?transport=tcp
	PasswordFile string // one of the two is set
	Password     string // resolved from env:NAME; never shown
}

// ByDevice says that the relay knows the device by its certificate: its URL has TLS and no user.
func (r Relay) ByDevice() bool {
	return strings.HasPrefix(r.URL, "turns:") && !strings.Contains(r.URL, "@")
}

// Transfer is about files.
type Transfer struct {
	MinFree     Size
	MaxParallel int
}

// Accept is what happens to what contacts offer.
type Accept struct {
	Default string // "ask", "auto" or "deny"
}

// API is the local API.
type API struct {
	Socket    string // "" means in the home
	Dashboard string // host:port; "" means none
}

// Metrics is the endpoint that Prometheus reads.
type Metrics struct {
	Listen    string // host:port; "" means none
	WebConfig string // file with TLS and users; "" means plain HTTP, for everybody
}

// Log is what the programs say of themselves.
type Log struct {
	Level  string // "debug", "info", "warn" or "error"
	Format string // "auto", "text" or "json"
}

// Turnd is the TURN server, alone or inside a node.
type Turnd struct {
	Enabled       bool // inside a node; the program turnd does not look at it
	Realm         string
	ListenUDP     []netip.AddrPort
	ListenTCP     []netip.AddrPort
	ListenTLS     []netip.AddrPort
	ListenDTLS    []netip.AddrPort
	Cert, Key     string         // files, for ListenTLS and ListenDTLS
	ProxyFrom     []netip.Prefix // whose streams begin with the PROXY protocol
	RelayMode     string         // port or shared
	RelayIP4      netip.Addr     // invalid means: none given
	RelayIP6      netip.Addr
	ExternalIP4   netip.Addr // told to clients instead of RelayIP4, behind a NAT; invalid means: not told
	ExternalIP6   netip.Addr
	PortRange     PortRange
	UsersFile     string   // "" means: no such user
	Devices       []string // ids that may allocate by certificate
	DevicesFile   string   // with more of them; "" means none
	Secret        string   // file; "" means: no time-limited credentials
	FleetKey      string   // file; "" means a key of the process
	FollowFiles   bool
	AllowPeer     []netip.Prefix
	DenyPeer      []netip.Prefix   // wins over AllowPeer
	OwnRelays     bool             // relayed addresses may be peers of each other
	Strict        bool             // channel numbers of RFC 8656 only
	NoUDPRelays   bool             // TCP allocations only
	TCPRelay      bool             // TCP allocations too
	OtherUDP      []netip.AddrPort // RFC 5780
	Mobility      bool             // allocations that move, RFC 8016
	Push          string           // "users" or "off"
	MobilityGrace time.Duration

	Offload     string           // "off", "auto" or "tc": the relay in the kernel
	AdminSocket string           // "" means the usual place
	Dashboard   string           // host:port; "" means none
	Alternate   []netip.AddrPort // where clients are sent while it drains
	DrainGrace  time.Duration

	Limits TurndLimits
	Mint   Mint
	ACME   ACME
}

// PortRange is a range of ports, both ends in it.
type PortRange struct{ First, Last uint16 }

// Size is a number of bytes.
type Size int64
