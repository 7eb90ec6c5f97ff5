package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Key describes one setting.
type Key struct {
	Name     string // dotted, as in the file
	Env      string // environment variable
	Flag     string // without the dashes
	Switch   string // when not "", the flag takes no value and means this one
	Type     string // kind of value and its unit, for people
	Default  string // as it would be written
	Help     string // one line
	Programs string // "node", "turnd" or "node turnd": whose flag it is

	field field
}

// IsBool reports whether the flag is one without a value.
func (k Key) IsBool() bool { return k.Switch != "" || k.Type == typeBool }

const (
	both      = "node turnd"
	nodeOnly  = "node"
	turndOnly = "turnd"

	relayURL          = "relay.url" // the two of a [[relay]], a list
	relayPassword     = "relay.password"
	relayPasswordFile = "relay.password_file"
)

// table is every key there is, in the order of the documentation.
var table = slices.Concat(mainKeys, limitKeys, mintKeys, acmeKeys)

// mainKeys are all but those of a section with a file of its own. A default that is not written here is the empty value.
var mainKeys = []Key{
	{
		Name: "identity.dir", Flag: "identity-dir", Programs: nodeOnly,
		Help:  "directory of the device key; empty: in the home",
		field: path(func(c *Config) *string { return &c.Identity.Dir }),
	},
	{
		Name: "node.name", Flag: "name", Programs: nodeOnly,
		Help:  "what this device is called; empty: its short id",
		field: one(func(c *Config) *string { return &c.Node.Name }, "text", parseName),
	},
	{
		Name: "node.listen", Flag: "listen", Default: `tcp://:0`, Programs: nodeOnly,
		Help:  "addresses where peers reach this device, tcp://ADDRESS:PORT, all with one port; without an address: all interfaces; port 0: any",
		field: prefixed("tcp://", list(func(c *Config) *[]netip.AddrPort { return &c.Node.Listen }, "addresses", parseListenURL)),
	},
	{
		Name: "node.download_dir", Flag: "download-dir", Programs: nodeOnly,
		Help:  "directory of received files; empty: in the home",
		field: path(func(c *Config) *string { return &c.Node.DownloadDir }),
	},
	{
		Name: "node.port_mapping", Flag: "port-mapping", Default: "auto", Programs: nodeOnly,
		Help:  "whether the router is asked to lead a port to this device, by PCP, NAT-PMP or UPnP",
		field: choice(func(c *Config) *string { return &c.Node.PortMapping }, "auto", "off"),
	},
	{
		Name: "node.lan_discovery", Flag: "lan-discovery", Default: "true", Programs: nodeOnly,
		Help:  "whether contacts are looked for on the link by multicast DNS, under names that only they can tell",
		field: one(func(c *Config) *bool { return &c.Node.LAN }, typeBool, parseBool),
	},
	{
		Name: "node.push", Flag: "push", Default: "auto", Programs: nodeOnly,
		Help:  "whether contacts' requests come by push: one connection is kept to each of the first two relays, which hands them over at once; off: nothing is asked of relays before a call, and none is called by",
		field: choice(func(c *Config) *string { return &c.Node.Push }, "auto", "off"),
	},
	{
		Name: "node.drain_grace", Flag: "node-drain-grace", Default: "0s", Programs: nodeOnly,
		Help:  "how long transfers that move may go on after SIGTERM or SIGINT, before they pause until the node is up again; a second signal ends the node now",
		field: one(func(c *Config) *time.Duration { return &c.Node.DrainGrace }, "duration", parseDuration),
	},
	{
		Name: "dht.mode", Flag: "private-dht", Switch: "private", Default: "mainline", Programs: nodeOnly,
		Help:  "which DHT devices are found on: BitTorrent's, or one of your own nodes",
		field: choice(func(c *Config) *string { return &c.DHT.Mode }, "mainline", "private"),
	},
	{
		Name: "dht.listen", Flag: "dht-listen", Default: "0.0.0.0:0", Programs: nodeOnly,
		Help:  "UDP address of the DHT; port 0: any",
		field: one(func(c *Config) *netip.AddrPort { return &c.DHT.Listen }, "address", parseAddrPort),
	},
	{
		Name: "dht.bootstrap", Flag: "bootstrap", Programs: nodeOnly,
		Help:  "nodes to begin with, HOST:PORT; empty: the well-known ones, or none in a private DHT",
		field: list(func(c *Config) *[]string { return &c.DHT.Bootstrap }, "hosts", single(parseHostPort)),
	},
	{
		Name: "signalling.timeout", Flag: "signalling-timeout", Default: "30s", Programs: nodeOnly,
		Help:  "how long a call to another device waits for its answer; 1s to 2m. Unless it is set, 75s on Mainline, where an answer may need two looks into a slot",
		field: one(func(c *Config) *time.Duration { return &c.Signalling.Timeout }, "duration", within(time.Second, 2*time.Minute)),
	},
	{
		Name: "signalling.patience", Flag: "signalling-patience", Default: "10s", Programs: nodeOnly,
		Help:  "how long a call waits for a device that has published no presence that holds; at most signalling.timeout",
		field: one(func(c *Config) *time.Duration { return &c.Signalling.Patience }, "duration", within(time.Second, 2*time.Minute)),
	},
	{
		Name: "path.policy", Flag: "path", Default: "auto", Programs: nodeOnly,
		Help:  "which ways to a peer are used; what either side sets holds for both",
		field: choice(func(c *Config) *string { return &c.Path.Policy }, "auto", "direct-only", "relay-only"),
	},
	{
		Name: "path.transports", Flag: "transports", Default: "auto", Programs: nodeOnly,
		Help:  "auto: TCP, and UDP where no TCP connection comes through; tcp-only: no UDP sockets for paths",
		field: choice(func(c *Config) *string { return &c.Path.Transports }, "auto", "tcp-only"),
	},
	{
		Name: "path.order", Flag: "path-order", Default: "host-tcp,srflx-tcp,host-udp,srflx-udp,relay-tcp,relay-udp", Programs: nodeOnly,
		Help:  "which kinds of ways are offered and tried, best first; one that is left out is not used, whoever calls. Where the UDP ones stand before the TCP ones, UDP has the head start in calls of this device; relays come last",
		field: orderField(),
	},
	{
		Name: "path.relay_after", Flag: "path-relay-after", Default: "150ms", Programs: nodeOnly,
		Help:  "head start of direct ways over relayed ones, and of one transport over the other; 1s, or this if it is more, once a direct connection is up and being checked",
		field: one(func(c *Config) *time.Duration { return &c.Path.RelayAfter }, "duration", within(time.Millisecond, 10*time.Second)),
	},
	{
		Name: "path.relay_udp", Flag: "path-relay-udp", Default: "auto", Programs: nodeOnly,
		Help:  "when relays are asked for UDP ports; auto: where their TCP ports are of no use; always: beside those, in every call. Never: leave relay-udp out of path.order",
		field: choice(func(c *Config) *string { return &c.Path.RelayUDP }, "auto", "always"),
	},
	{
		Name: "path.repunch", Flag: "path-repunch", Default: "5s..10m0s", Programs: nodeOnly,
		Help:  "pauses between a relayed session's tries for a direct path: after the first that failed, then twice as long each time, up to the longest; a change of the network is tried at once",
		field: one(func(c *Config) *Span { return &c.Path.Repunch }, "range of durations", spanWithin(time.Second, 24*time.Hour)),
	},
	{
		Name: "path.stun", Flag: "stun", Programs: nodeOnly,
		Help:  "STUN servers, HOST:PORT, that say over UDP how they see this device, besides its relays; the first 4 of all are asked. They learn this device's address and nothing else",
		field: list(func(c *Config) *[]string { return &c.Path.STUN }, "hosts", single(parseHostPort)),
	},
	{
		Name: "path.upgrade", Flag: "path-upgrade", Default: "true", Programs: nodeOnly,
		Help:  "a session over a relay moves to a direct path as soon as there is one; false on either side keeps it where it began",
		field: one(func(c *Config) *bool { return &c.Path.Upgrade }, typeBool, parseBool),
	},
	{
		Name: "path.warm", Flag: "path-warm", Default: "10m0s", Programs: nodeOnly,
		Help:  "how long the relayed link stays for the way back after a session has moved to a direct path, at most 8 of them; 0s: not at all",
		field: one(func(c *Config) *time.Duration { return &c.Path.Warm }, "duration", parseDuration),
	},
	{
		Name: relayURL, Flag: "relay", Programs: nodeOnly,
		Help:  "TURN server, turn:USER@HOST:PORT?transport=tcp, or turns:HOST:PORT for TLS where the relay knows this device's id, in a [[relay]] of the file; as flag or variable it replaces all of those",
		field: like("^turns?:", relayField(func(r *Relay) *string { return &r.URL }, understandURL)),
	},
	{
		Name: relayPasswordFile, Flag: "relay-password-file", Programs: nodeOnly,
		Help:  "file with the relay's password in one line, 0600",
		field: relayField(func(r *Relay) *string { return &r.PasswordFile }, understandFile),
	},
	{
		Name: relayPassword, Flag: "relay-password", Programs: nodeOnly,
		Help:  "instead of the file: env:NAME, the variable that holds the password",
		field: like("^env:[^= ]+$", hidden(relayField(func(r *Relay) *string { return &r.Password }, understandSecret))),
	},
	{
		Name: "transfer.min_free", Flag: "min-free", Default: "1GiB", Programs: nodeOnly,
		Help:  "space that must stay free where files are received; an offer that would take it is declined",
		field: one(func(c *Config) *Size { return &c.Transfer.MinFree }, "size", ParseSize),
	},
	{
		Name: "transfer.max_parallel", Flag: "max-parallel", Default: "4", Programs: nodeOnly,
		Help:  "transfers of more than 1 MiB whose bytes are being sent at once; others that were taken are queued until one has ended",
		field: one(func(c *Config) *int { return &c.Transfer.MaxParallel }, typeCount, parseCount),
	},
	{
		Name: "accept.default", Flag: "accept", Default: "ask", Programs: nodeOnly,
		Help:  "what happens to files that contacts offer; nobody else can offer any",
		field: choice(func(c *Config) *string { return &c.Accept.Default }, "ask", "auto", "deny"),
	},
	{
		Name: "api.socket", Flag: "socket", Programs: nodeOnly,
		Help:  "unix socket of the local API; empty: in the home",
		field: path(func(c *Config) *string { return &c.API.Socket }),
	},
	{
		Name: "api.dashboard", Flag: "dashboard", Programs: nodeOnly,
		Help:  "loopback address of the status page for browsers on this machine, such as 127.0.0.1:7878; empty: none",
		field: one(func(c *Config) *string { return &c.API.Dashboard }, "host:port", orEmpty(parseHostPort)),
	},
	{
		Name: "metrics.listen", Flag: "metrics", Programs: both,
		Help:  "HTTP address of /metrics, HOST:PORT; empty: none",
		field: one(func(c *Config) *string { return &c.Metrics.Listen }, "host:port", orEmpty(parseHostPort)),
	},
	{
		Name: "metrics.web_config", Flag: "metrics-web-config", Programs: both,
		Help:  "file in the form of Prometheus' own programs (web.config.file): TLS, client certificates and users for /metrics; empty: plain HTTP, for everybody",
		field: path(func(c *Config) *string { return &c.Metrics.WebConfig }),
	},
	{
		Name: "log.level", Flag: "log-level", Default: "info", Programs: both,
		Help:  "least important lines to write",
		field: choice(func(c *Config) *string { return &c.Log.Level }, "debug", "info", "warn", "error"),
	},
	{
		Name: "log.format", Flag: "log-format", Default: "auto", Programs: both,
		Help:  "form of lines; auto: text on a terminal, else JSON",
		field: choice(func(c *Config) *string { return &c.Log.Format }, "auto", "text", "json"),
	},
	{
		Name: "turnd.enabled", Flag: "turnd", Default: "false", Programs: nodeOnly,
		Help:  "run the TURN server inside the node",
		field: one(func(c *Config) *bool { return &c.Turnd.Enabled }, typeBool, parseBool),
	},
	{
		Name: "turnd.realm", Flag: "realm", Default: "home", Programs: both,
		Help:  "realm of the credentials (RFC 8489 §9.2)",
		field: one(func(c *Config) *string { return &c.Turnd.Realm }, "text", parseRealm),
	},
	{
		Name: "turnd.listen_udp", Flag: "listen-udp", Default: ":3478", Programs: both,
		Help:  "UDP addresses of the server; without an address: all of both families",
		field: list(func(c *Config) *[]netip.AddrPort { return &c.Turnd.ListenUDP }, "addresses", parseListen),
	},
	{
		Name: "turnd.listen_tcp", Flag: "listen-tcp", Default: ":3478", Programs: both,
		Help:  "TCP addresses of the server",
		field: list(func(c *Config) *[]netip.AddrPort { return &c.Turnd.ListenTCP }, "addresses", parseListen),
	},
	{
		Name: "turnd.listen_tls", Flag: "listen-tls", Programs: both,
		Help:  "TLS addresses of the server, commonly :5349; empty: none",
		field: list(func(c *Config) *[]netip.AddrPort { return &c.Turnd.ListenTLS }, "addresses", parseListen),
	},
	{
		Name: "turnd.listen_dtls", Flag: "listen-dtls", Programs: both,
		Help:  "DTLS addresses of the server (RFC 7350), commonly :5349; empty: none",
		field: list(func(c *Config) *[]netip.AddrPort { return &c.Turnd.ListenDTLS }, "addresses", parseListen),
	},
	{
		Name: "turnd.cert_file", Flag: "cert", Programs: both,
		Help:  "certificate and its chain for listen_tls and listen_dtls, PEM; read again when it changes",
		field: path(func(c *Config) *string { return &c.Turnd.Cert }),
	},
	{
		Name: "turnd.key_file", Flag: "key", Programs: both,
		Help:  "key of the certificate, PEM",
		field: path(func(c *Config) *string { return &c.Turnd.Key }),
	},
	{
		Name: "turnd.proxy_from", Flag: "proxy-from", Programs: turndOnly,
		Help:  "networks of proxies whose TCP and TLS connections begin with the PROXY protocol, version 1 or 2; nobody else's header is believed",
		field: list(func(c *Config) *[]netip.Prefix { return &c.Turnd.ProxyFrom }, "networks", single(parsePrefix)),
	},
	{
		Name: "turnd.relay_ip4", Flag: "relay-ip4", Programs: both,
		Help:  "IPv4 address that peers see; empty: none given",
		field: one(func(c *Config) *netip.Addr { return &c.Turnd.RelayIP4 }, "IPv4 address", parseIP4),
	},
	{
		Name: "turnd.relay_ip6", Flag: "relay-ip6", Programs: both,
		Help:  "IPv6 address that peers see; empty: none given",
		field: one(func(c *Config) *netip.Addr { return &c.Turnd.RelayIP6 }, "IPv6 address", parseIP6),
	},
	{
		Name: "turnd.external_ip4", Flag: "external-ip4", Programs: both,
		Help:  "IPv4 address that a one-to-one NAT in front makes of relay_ip4, told to clients; empty: there is none",
		field: one(func(c *Config) *netip.Addr { return &c.Turnd.ExternalIP4 }, "IPv4 address", parseIP4),
	},
	{
		Name: "turnd.external_ip6", Flag: "external-ip6", Programs: both,
		Help:  "the same for IPv6",
		field: one(func(c *Config) *netip.Addr { return &c.Turnd.ExternalIP6 }, "IPv6 address", parseIP6),
	},
	{
		Name: "turnd.port_range", Flag: "port-range", Default: "49152-65535", Programs: both,
		Help:  "ports of relayed addresses, FIRST-LAST",
		field: one(func(c *Config) *PortRange { return &c.Turnd.PortRange }, "port range", parsePortRange),
	},
	{
		Name: "turnd.relay_mode", Flag: "relay-mode", Default: "port", Programs: both,
		Help:  "how UDP allocations have their relayed address: a port each, or shared, as many allocations at each port of port_range (docs/turnd.md)",
		field: choice(func(c *Config) *string { return &c.Turnd.RelayMode }, "port", "shared"),
	},
	{
		Name: "turnd.users_file", Flag: "users-file", Programs: both,
		Help:  "file of users, 0600, as turnd user add writes it or with name:password in each line; empty: none",
		field: path(func(c *Config) *string { return &c.Turnd.UsersFile }),
	},
	{
		Name: "turnd.fleet_key_file", Flag: "fleet-key-file", Programs: both,
		Help:  "file of keys that several servers share, one a line, 4 at most, 0600: each then takes the nonces of the others; the first makes them; empty: a key of this process",
		field: path(func(c *Config) *string { return &c.Turnd.FleetKey }),
	},
	{
		Name: "turnd.follow_files", Flag: "follow-files", Default: "false", Programs: turndOnly,
		Help:  "reload by itself when the configuration or a file of users, devices, secrets or fleet keys has changed, for files that another program puts there",
		field: one(func(c *Config) *bool { return &c.Turnd.FollowFiles }, typeBool, parseBool),
	},
	{
		Name: "turnd.secret_file", Flag: "auth-secret-file", Programs: both,
		Help:  "file of secrets for time-limited credentials, one a line, 4 at most, 0600; the first mints; empty: none",
		field: path(func(c *Config) *string { return &c.Turnd.Secret }),
	},
	{
		Name: "turnd.devices", Flag: "devices", Programs: turndOnly,
		Help:  "ids of devices that may allocate over TLS by their certificate, without a password",
		field: list(func(c *Config) *[]string { return &c.Turnd.Devices }, "device ids", single(parseName)),
	},
	{
		Name: "turnd.devices_file", Flag: "devices-file", Programs: turndOnly,
		Help:  "file with more of them, one a line, what comes after a space is a comment",
		field: path(func(c *Config) *string { return &c.Turnd.DevicesFile }),
	},
	{
		Name: "turnd.allow_peer", Flag: "allow-peer", Programs: both,
		Help:  "networks that may be relayed to although the deny list has them, such as your LAN",
		field: list(func(c *Config) *[]netip.Prefix { return &c.Turnd.AllowPeer }, "networks", single(parsePrefix)),
	},
	{
		Name: "turnd.deny_peer", Flag: "deny-peer", Programs: both,
		Help:  "networks that are never relayed to, besides those of the deny list; wins over allow_peer",
		field: list(func(c *Config) *[]netip.Prefix { return &c.Turnd.DenyPeer }, "networks", single(parsePrefix)),
	},
	{
		Name: "turnd.own_relays", Flag: "own-relays", Default: "false", Programs: both,
		Help:  "relayed addresses of this server may be peers of each other, although its own addresses are denied",
		field: one(func(c *Config) *bool { return &c.Turnd.OwnRelays }, typeBool, parseBool),
	},
	{
		Name: "turnd.strict_channels", Flag: "strict-channels", Default: "false", Programs: both,
		Help:  "refuse the channel numbers of RFC 5766 that RFC 8656 gave up",
		field: one(func(c *Config) *bool { return &c.Turnd.Strict }, typeBool, parseBool),
	},
	{
		Name: "turnd.no_udp_relays", Flag: "no-udp-relays", Default: "false", Programs: both,
		Help:  "relay over TCP only (RFC 6062); who asks for a UDP relay gets 403",
		field: one(func(c *Config) *bool { return &c.Turnd.NoUDPRelays }, typeBool, parseBool),
	},
	{
		Name: "turnd.tcp_relay", Flag: "tcp-relay", Default: "true", Programs: both,
		Help:  "relay over TCP too (RFC 6062); without it who asks for a TCP relay gets 442",
		field: one(func(c *Config) *bool { return &c.Turnd.TCPRelay }, typeBool, parseBool),
	},
	{
		Name: "turnd.other_udp", Flag: "other-udp", Programs: both,
		Help:  "another address and port for the discovery of NAT behaviour (RFC 5780), one a family; the first of listen_udp names its address then",
		field: list(func(c *Config) *[]netip.AddrPort { return &c.Turnd.OtherUDP }, "addresses", single(parseAddrPort)),
	},
	{
		Name: "turnd.push", Flag: "relay-push", Default: "users", Programs: both,
		Help:  "who may register for signalling by push, at every TCP and TLS listener: users, devices among them, or nobody (off)",
		field: choice(func(c *Config) *string { return &c.Turnd.Push }, "users", "off"),
	},
	{
		Name: "turnd.mobility", Flag: "mobility", Default: "false", Programs: both,
		Help:  "clients may take their allocation along to another address (RFC 8016); all work is then done by one core",
		field: one(func(c *Config) *bool { return &c.Turnd.Mobility }, typeBool, parseBool),
	},
	{
		Name: "turnd.mobility_grace", Flag: "mobility-grace", Default: "30s", Programs: both,
		Help:  "how long such an allocation stays after its TCP connection has ended",
		field: one(func(c *Config) *time.Duration { return &c.Turnd.MobilityGrace }, "duration", parseDuration),
	},
	{
		Name: "turnd.offload", Flag: "offload", Default: "off", Programs: turndOnly,
		Help:  "relay channels in the kernel, by eBPF at tc, past netfilter: auto where that can be, tc or not at all, off (docs/offload.md)",
		field: choice(func(c *Config) *string { return &c.Turnd.Offload }, "off", "auto", "tc"),
	},
	{
		Name: "turnd.admin_socket", Flag: "admin-socket", Programs: turndOnly,
		Help:  "unix socket of reload, drain and sessions; empty: turnd.sock in $XDG_RUNTIME_DIR, none without that",
		field: path(func(c *Config) *string { return &c.Turnd.AdminSocket }),
	},
	{
		Name: "turnd.dashboard", Flag: "turnd-dashboard", Programs: turndOnly,
		Help:  "loopback address of the status page for browsers on this machine, such as 127.0.0.1:7879; empty: none",
		field: one(func(c *Config) *string { return &c.Turnd.Dashboard }, "host:port", orEmpty(parseHostPort)),
	},
	{
		Name: "turnd.alternate", Flag: "alternate", Programs: turndOnly,
		Help:  "servers that clients are sent to while this one drains (300), the first of the client's family; empty: 508",
		field: list(func(c *Config) *[]netip.AddrPort { return &c.Turnd.Alternate }, "addresses", single(parseAddrPort)),
	},
	{
		Name: "turnd.drain_grace", Flag: "drain-grace", Default: "10s", Programs: turndOnly,
		Help:  "how long sessions may go on after SIGTERM; without sessions it ends at once",
		field: one(func(c *Config) *time.Duration { return &c.Turnd.DrainGrace }, "duration", parseDuration),
	},
}

// byName, byFlag and byEnv find a key; sections are the tables of the file.
var byName, byFlag, byEnv, sections = index()

func index() (name, flag, env map[string]*Key, sections map[string]bool) {
	name, flag, env, sections = map[string]*Key{}, map[string]*Key{}, map[string]*Key{}, map[string]bool{}
	for i := range table {
		k := &table[i]
		k.Type = k.field.typ
		k.Env = "TRAVERSE_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
		name[k.Name], flag[k.Flag], env[k.Env] = k, k, k
		for section := k.Name; strings.Contains(section, "."); {
			section = section[:strings.LastIndex(section, ".")]
			sections[section] = true
		}
	}
	return name, flag, env, sections
}

// Keys returns the keys of a program, "node" or "turnd", or all with "". A program makes its flags from them.
func Keys(program string) []Key {
	var out []Key
	for _, k := range table {
		if strings.Contains(k.Programs, program) {
			out = append(out, k)
		}
	}
	return out
}
