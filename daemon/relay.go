package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"traverse.internal/core/ice"
	"traverse.internal/core/turnclient"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// RelayURL is a parsed [[relay]] url: turn:USER@HOST[:PORT][?transport=tcp], RFC 7065 with the user in front, or turns: for
// TLS, where without a user the device's certificate says who it is.
type RelayURL struct {
	TLS  bool
	Host string
	Port uint16
	User string
}

// ParseRelayURL parses a relay's address. Passwords come from files, never from a command line.
func ParseRelayURL(raw string) (RelayURL, error) {
	fail := func(why string) (RelayURL, error) {
		return RelayURL{}, cli.Errorf("E_CONFIG", "%q is not a relay's address", redactURL(raw)).
			Because(errors.New(why)).Hint("write it as 'turn:USER@HOST:PORT?transport=tcp', quoted in a shell, and the password in a file")
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || scheme != "turn" && scheme != "turns" {
		return fail("it does not begin with turn: or turns:")
	}
	secure := scheme == "turns"
	rest, query, _ := strings.Cut(rest, "?")
	user, hostport, ok := strings.Cut(rest, "@")
	if !ok && secure {
		user, hostport, ok = "", rest, true
	} else if user == "" {
		ok = false
	}
	if !ok {
		return fail("it names no user")
	}
	if strings.Contains(user, ":") {
		return fail("a password stands in it")
	}
	user, err := url.PathUnescape(user)
	if err != nil {
		return fail("the user is badly escaped")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fail("the part after ? cannot be read")
	}
	for key, v := range values {
		if key != "transport" || len(v) != 1 {
			return fail(fmt.Sprintf("unknown parameter %q", key))
		}
		if v[0] != "tcp" {
			return fail(fmt.Sprintf("transport %q; the relayed path needs tcp", v[0]))
		}
	}
	u := RelayURL{TLS: secure, Host: hostport, Port: 3478, User: user}
	if secure {
		u.Port = 5349
	}
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fail(fmt.Sprintf("port %q is not between 1 and 65535", port))
		}
		u.Host, u.Port = host, uint16(n)
	} else if strings.HasPrefix(hostport, "[") || strings.Count(hostport, ":") == 1 {
		return fail(err.Error())
	}
	if u.Host == "" {
		return fail("it names no host")
	}
	if !isHost(u.Host) {
		return fail(fmt.Sprintf("%q is neither a host's name nor an address", u.Host))
	}
	return u, nil
}

// isHost accepts an IP address without a zone, and what can be a name in the DNS or in /etc/hosts.
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
	})
}

// Address is what to dial.
func (u RelayURL) Address() string { return net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port))) }

func (u RelayURL) String() string {
	// QueryEscape leaves nothing that means something in the URL, but writes a space as +, which stands for itself here.
	user := strings.ReplaceAll(url.QueryEscape(u.User), "+", "%20")
	scheme := "turn"
	if u.TLS {
		scheme = "turns"
	}
	if user != "" {
		user += "@"
	}
	return fmt.Sprintf("%s:%s%s?transport=tcp", scheme, user, u.Address())
}

// forICE is the relay as paths use it. Without a user it is the device that asks, by its certificate.
func (r RelayConfig) forICE(device *identity.Device) ice.Relay {
	out := ice.Relay{Server: r.URL.Address(), Username: r.URL.User, Password: r.Password}
	switch {
	case r.URL.TLS && r.URL.User == "":
		out.Username, out.TLS = device.ID().String(), turnclient.NewTLS(r.URL.Host, device.Certificate())
	case r.URL.TLS:
		out.TLS = turnclient.NewTLS(r.URL.Host)
	}
	return out
}

// redactURL keeps a password that was put into a URL out of messages and logs.
func redactURL(raw string) string {
	user, host, ok := strings.Cut(raw, "@")
	if !ok {
		return raw
	}
	if i := strings.Index(user, ":"); i >= 0 {
		if j := strings.Index(user[i+1:], ":"); j >= 0 {
			user = user[:i+1+j] + ":…"
		}
	}
	return user + "@" + host
}
