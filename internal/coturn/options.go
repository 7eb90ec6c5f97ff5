package coturn

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// option is what becomes of an option of turnserver.conf. text is empty where take makes its own note.
type option struct {
	kind Kind
	text string
	take func(r *reader, value string) error
}

// same is an option that one key of ours says.
func same(flag, key string) option {
	return option{Same, key, func(r *reader, v string) error {
		if v == "" {
			return errors.New("it has no value")
		}
		r.set(flag, v)
		return nil
	}}
}

func always(text string) option  { return option{kind: Always, text: text} }
func nothing(text string) option { return option{kind: Nothing, text: text} }

// on is an option that may be switched off by its value.
func on(kind Kind, text string, do func(r *reader)) option {
	return option{kind, text, func(r *reader, v string) error {
		switch v {
		case "", "1", "true", "yes", "on":
			do(r)
		case "0", "false", "no", "off":
		default:
			return fmt.Errorf("%q is neither on nor off", v)
		}
		return nil
	}}
}

func port(text string, at func(r *reader) *string) option {
	return option{Same, text, func(r *reader, v string) (err error) {
		*at(r), err = parsePort(v)
		return err
	}}
}

func addrs(text string, at func(r *reader) *[]netip.Addr) option {
	return option{Same, text, func(r *reader, v string) error {
		a, err := parseAddr(v)
		*at(r) = append(*at(r), a)
		return err
	}}
}

func spans(text string, at func(r *reader) *[]span) option {
	return option{Same, text, func(r *reader, v string) error {
		s, err := parseSpan(v)
		*at(r) = append(*at(r), s)
		return err
	}}
}

const (
	logs       = "log.level and log.format; lines go to stderr, the service manager keeps them"
	database   = "there is no database: turnd.users_file, or turnd.secret_file"
	oldTLS     = "TLS 1.2 and 1.3 with Go's choice of ciphers; nothing older"
	asService  = "the service manager's affair: deploy/systemd"
	noAdmin    = "turnd.admin_socket: a unix socket, and nothing on the network"
	noBehavior = "RFC 5780 is not served"
)

// options are those of coturn 4.6 to 4.17.
var options = map[string]option{
	"listening-ip":       addrs("turnd.listen_*", func(r *reader) *[]netip.Addr { return &r.ips }),
	"listening-port":     port("turnd.listen_udp, turnd.listen_tcp", func(r *reader) *string { return &r.port }),
	"tls-listening-port": port("turnd.listen_tls", func(r *reader) *string { return &r.tlsPort }),
	"relay-ip":           addrs("turnd.relay_ip4, turnd.relay_ip6", func(r *reader) *[]netip.Addr { return &r.relays }),
	"external-ip":        {take: takeExternal},
	"min-port":           port("turnd.port_range", func(r *reader) *string { return &r.minPort }),
	"max-port":           port("turnd.port_range", func(r *reader) *string { return &r.maxPort }),
	"realm":              same("realm", "turnd.realm"),
	"cert":               same("cert", "turnd.cert_file"),
	"pkey":               same("key", "turnd.key_file"),
	"user":               {take: takeUser},
	"use-auth-secret":    always("turnd.secret_file switches it on"),
	"static-auth-secret": {Same, "a line of turnd.secret_file", takeSecret},
	"user-quota":         {Same, "turnd.limits.per_user", takeQuota("max-allocations-per-user")},
	"total-quota":        {Same, "turnd.limits.allocations", takeQuota("max-allocations")},
	"denied-peer-ip":     spans("turnd.deny_peer", func(r *reader) *[]span { return &r.denied }),
	"allowed-peer-ip":    spans("turnd.allow_peer; taken out of turnd.deny_peer, which wins here", func(r *reader) *[]span { return &r.allowed }),
	"allow-loopback-peers": on(Same, "turnd.allow_peer", func(r *reader) {
		r.allowed = append(r.allowed, mustSpan("127.0.0.0-127.255.255.255"), mustSpan("::1"))
	}),
	"no-udp":                            on(Same, "turnd.listen_udp = []", func(r *reader) { r.noUDP = true }),
	"no-tcp":                            on(Same, "turnd.listen_tcp = []", func(r *reader) { r.noTCP = true }),
	"no-tls":                            on(Same, "no turnd.listen_tls", func(r *reader) { r.noTLS = true }),
	"no-dtls":                           on(Same, "no listener over DTLS", func(r *reader) { r.noDTLS = true }),
	"prometheus":                        on(Same, "metrics.listen, on loopback unless prometheus-address says more", func(r *reader) { r.prometheus = true }),
	"prometheus-port":                   port("metrics.listen", func(r *reader) *string { return &r.promPort }),
	"prometheus-address":                {Same, "metrics.listen", func(r *reader, v string) error { r.promAddress = v; return nil }},
	"alternate-server":                  {take: takeAlternate},
	"verbose":                           on(Same, "log.level = \"debug\"", func(r *reader) { r.set("log-level", "debug") }),
	"Verbose":                           on(Same, "log.level = \"debug\"", func(r *reader) { r.set("log-level", "debug") }),
	"lt-cred-mech":                      always("long-term credentials are the only ones"),
	"fingerprint":                       always("a response has FINGERPRINT when its request had it"),
	"stale-nonce":                       always("a nonce is good for 30 minutes"),
	"no-multicast-peers":                always("unless turnd.allow_peer names them; private networks too"),
	"no-loopback-peers":                 always("unless turnd.allow_peer names them; private networks too"),
	"no-stdout-log":                     always(logs),
	"no-cli":                            always(noAdmin),
	"no-rfc5780":                        always(noBehavior),
	"secure-stun":                       nothing("Binding is answered to everybody, at a bounded rate"),
	"no-stun":                           nothing("Binding is answered to everybody, at a bounded rate"),
	"no-software-attribute":             always("strangers are not told the program's name"),
	"no-stun-backward-compatibility":    always("RFC 3489's attributes are not sent"),
	"response-origin-only-with-rfc5780": always("RESPONSE-ORIGIN is not sent"),
	"udp-self-balance":                  always("every core has its socket"),
	"relay-threads":                     always("as many as there are cores"),
	"cpus":                              always("as many as there are cores"),
	"no-tlsv1":                          always(oldTLS),
	"no-tlsv1_1":                        always(oldTLS),
	"no-tlsv1_2":                        nothing(oldTLS),
	"tlsv1":                             nothing(oldTLS),
	"tlsv1_1":                           nothing(oldTLS),
	"cipher-list":                       nothing(oldTLS),
	"ec-curve-name":                     nothing(oldTLS),
	"dh-file":                           nothing(oldTLS),
	"dh566":                             nothing(oldTLS),
	"dh1066":                            nothing(oldTLS),
	"dh2066":                            nothing(oldTLS),
	"pkey-pwd":                          nothing("a key without a password, 0600"),
	"CA-file":                           nothing("clients' certificates are not asked for"),
	"no-auth":                           nothing("nobody gets a relay without credentials"),
	"no-tcp-relay":                      on(Same, "turnd.tcp_relay", func(r *reader) { r.set("tcp-relay", "false") }),
	"no-udp-relay":                      on(Same, "turnd.no_udp_relays", func(r *reader) { r.set("no-udp-relays", "true") }),
	"tcp-proxy-port":                    nothing("turnd.proxy_from tells by who connects, not by port: name the proxies there"),
	"alt-listening-port":                nothing(noBehavior),
	"alt-tls-listening-port":            nothing(noBehavior),
	"rfc5780":                           nothing(noBehavior),
	"aux-server":                        nothing("further addresses in turnd.listen_udp and turnd.listen_tcp"),
	"listening-device":                  nothing("the address of the device, in turnd.listen_*"),
	"relay-device":                      nothing("the address of the device, in turnd.relay_ip4 or turnd.relay_ip6"),
	"tls-alternate-server":              nothing("turnd.alternate has one list for all transports"),
	"max-bps":                           nothing("turnd.limits.rate_per_user bounds a user in bytes a second each way, not a session"),
	"bps-capacity":                      {Same, "turnd.limits.rate", takeRate},
	"max-allocate-timeout":              nothing("a TCP connection has 30 s to make an allocation"),
	"max-allocate-lifetime":             nothing("an hour at most"),
	"channel-lifetime":                  nothing("RFC 8656's 10 minutes"),
	"permission-lifetime":               nothing("RFC 8656's 5 minutes"),
	"mobility":                          nothing("RFC 8016 is not served"),
	"oauth":                             nothing("RFC 7635 is not served: turnd.secret_file has time-limited credentials"),
	"sha256":                            always("the client chooses MD5 or SHA-256, RFC 8489"),
	"check-origin-consistency":          nothing("ORIGIN is not looked at"),
	"no-auth-pings":                     nothing("there is no database to ping"),
	"stun-only":                         nothing("without users nobody gets a relay, and Binding is answered"),
	"check-origin":                      nothing("ORIGIN is not looked at"),
	"server-relay":                      nothing("turnd.allow_peer, by network"),
	"drain":                             nothing("turnd drain, or SIGTERM"),
	"keep-address-family":               nothing("without REQUESTED-ADDRESS-FAMILY it is IPv4, RFC 8656"),
	"allocation-default-address-family": nothing("without REQUESTED-ADDRESS-FAMILY it is IPv4, RFC 8656"),
	"server-name":                       nothing("there are no origins"),
	"software-attribute":                nothing("strangers are not told the program's name"),
	"userdb":                            nothing(database),
	"db":                                nothing(database),
	"psql-userdb":                       nothing(database),
	"mysql-userdb":                      nothing(database),
	"mongo-userdb":                      nothing(database),
	"redis-userdb":                      nothing(database),
	"redis-statsdb":                     nothing("metrics.listen"),
	"secret-key-file":                   nothing(database),
	"auth-secret-ts-exp":                nothing("the expiry in the name decides"),
	"rest-api-separator":                nothing("the separator is a colon"),
	"log-file":                          nothing(logs),
	"syslog":                            nothing(logs),
	"syslog-facility":                   nothing(logs),
	"simple-log":                        nothing(logs),
	"new-log-timestamp":                 always("times are RFC 3339's"),
	"new-log-timestamp-format":          nothing(logs),
	"log-binding":                       nothing("metrics count bindings; nothing is logged by packet"),
	"prometheus-username-labels":        nothing("metrics have no users"),
	"prometheus-path":                   nothing("it is /metrics"),
	"prometheus-session-id-labels":      nothing("metrics have no sessions: turnd sessions ls"),
	"web-admin":                         nothing(noAdmin),
	"web-admin-ip":                      nothing(noAdmin),
	"web-admin-port":                    nothing(noAdmin),
	"web-admin-listen-on-workers":       nothing(noAdmin),
	"acme-redirect":                     nothing("there is no HTTP server"),
	"cli":                               nothing(noAdmin),
	"cli-ip":                            nothing(noAdmin),
	"cli-port":                          nothing(noAdmin),
	"cli-password":                      nothing(noAdmin),
	"cli-max-output-sessions":           nothing(noAdmin),
	"pidfile":                           nothing(asService),
	"proc-user":                         nothing(asService),
	"proc-group":                        nothing(asService),
	"daemon":                            nothing(asService),
	"ne":                                always("the network engine is chosen by itself"),
	"include-reason-string":             always("errors have a reason phrase"),
	"no-dynamic-ip-list":                nothing("turnd.deny_peer and turnd.allow_peer are the only lists"),
	"no-dynamic-realms":                 always("there is one realm"),
}

// takeUser takes name:password. A key in the place of the password lacks the SHA-256 one.
func takeUser(r *reader, v string) error {
	name, password, ok := strings.Cut(v, ":")
	switch {
	case !ok || name == "" || password == "" || strings.HasPrefix(name, "#"):
		return errors.New("it is not NAME:PASSWORD")
	case strings.HasPrefix(password, "0x"):
		r.note("user", Nothing, "the key of a user is not enough, SHA-256 takes the password once: turnd user add "+shown(name))
		return nil
	}
	for _, u := range r.Users {
		if u.Name == name {
			return errors.New("a user of this name is there twice")
		}
	}
	r.Users = append(r.Users, User{name, password})
	r.note("user", Same, "a line of turnd.users_file")
	return nil
}

func takeSecret(r *reader, v string) error {
	switch {
	case v == "" || strings.HasPrefix(v, "#"):
		return errors.New("it is empty")
	case len(r.Secrets) == 4: // turn's limit
		return errors.New("there can be 4 at most")
	}
	r.Secrets = append(r.Secrets, v)
	return nil
}

// takeQuota takes a number; 0 meant without a limit, for which our default stands.
func takeQuota(flag string) func(*reader, string) error {
	return func(r *reader, v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			return fmt.Errorf("%q is no number", v)
		}
		if n > 0 {
			r.set(flag, strconv.FormatUint(n, 10))
		}
		return nil
	}
}

// takeRate takes bytes a second; 0 meant without a limit.
func takeRate(r *reader, v string) error {
	n, err := strconv.ParseUint(v, 10, 40)
	if err != nil {
		return fmt.Errorf("%q is no number of bytes", v)
	}
	if n > 0 {
		r.set("max-rate", strconv.FormatUint(n, 10)+"B")
	}
	return nil
}

// takeExternal takes OUTER or OUTER/INNER, where INNER is a relay address.
func takeExternal(r *reader, v string) error {
	outer, inner, both := strings.Cut(v, "/")
	a, err := parseAddr(outer)
	if err != nil {
		return err
	}
	flag, key := "external-ip4", "turnd.external_ip4"
	if a.Is6() {
		flag, key = "external-ip6", "turnd.external_ip6"
	}
	if have := r.flags[flag]; have != "" && have != a.String() {
		return fmt.Errorf("%s and %v; there is one address of each family here", have, a)
	}
	if both {
		local, err := parseAddr(inner)
		if err != nil {
			return err
		}
		r.relays = append(r.relays, local)
	}
	r.set(flag, a.String())
	r.note("external-ip", Same, key)
	return nil
}

// takeAlternate takes ADDRESS or ADDRESS:PORT; a weight has no counterpart.
func takeAlternate(r *reader, v string) error {
	at, err := netip.ParseAddrPort(v)
	if err != nil {
		a, err := parseAddr(v)
		if err != nil {
			return err
		}
		at = netip.AddrPortFrom(a, 3478)
	}
	r.alternates = append(r.alternates, at.String())
	r.note("alternate-server", Same, "turnd.alternate; clients are sent there while it drains, not always")
	return nil
}
