package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Parsers of single values. Their errors quote what they were given and give an example of what would do.

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

// ParseSize reads a number of bytes with its unit: 0, "512B", "256KiB", "1.5GiB", "10MB". Units are written just so,
// because one letter's case is a factor of a thousand to some and nothing to others.
func ParseSize(s string) (Size, error) {
	bad := fmt.Errorf("%q is not a size such as \"256KiB\" or \"1GiB\"", s)
	if s == "0" {
		return 0, nil
	}
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		digits = strings.TrimSuffix(digits, " ")
		if strings.Trim(digits, "0123456789.") != "" || digits == "" {
			return 0, bad
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			if n > math.MaxInt64/unit.bytes {
				return 0, fmt.Errorf("%q is too large", s)
			}
			return Size(n * unit.bytes), nil
		}
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return 0, bad
		}
		if n *= float64(unit.bytes); n >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return Size(n), nil
	}
	return 0, bad
}

// String writes the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, unit := range sizeUnits[:4] {
		if s != 0 && int64(s)%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s)/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not true or false", s)
}

// within is parseDuration with limits.
func within(least, most time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		if err == nil && (d < least || d > most) {
			err = fmt.Errorf("%v is not within %v and %v", d, least, most)
		}
		return d, err
	}
}

// parseDuration reads 90s, 10m, 1h30m: not negative, a day at most.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 24*time.Hour {
		return 0, fmt.Errorf("%q is not a duration from 0s to 24h, such as \"90s\" or \"10m\"", s)
	}
	return d, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 0, 32) // base 0: TOML's prefixes and underscores
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number from 1 to %d", s, math.MaxInt32)
	}
	return int(n), nil
}

// parseRealm keeps within RFC 8489 §14.9: fewer than 128 characters, here of ASCII without quotes.
func parseRealm(s string) (string, error) {
	if s == "" || len(s) >= 128 {
		return "", fmt.Errorf("a realm has 1 to 127 characters, this one %d", len(s))
	}
	for _, r := range s {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return "", fmt.Errorf("a realm cannot hold %q", r)
		}
	}
	return s, nil
}

// parseName takes what fits on a line of a list.
func parseName(s string) (string, error) {
	const longest = 64
	if len(s) > longest {
		return "", fmt.Errorf("a name has at most %d bytes, this one %d", longest, len(s))
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return "", fmt.Errorf("a name cannot hold %q", r)
		}
	}
	return s, nil
}

// parseHostPort reads HOST:PORT where the host may be a name, an address or nothing.
func parseHostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not HOST:PORT, such as 192.0.2.1:3478 or [2001:db8::1]:3478", s)
	}
	if strings.Contains(host, ":") {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", fmt.Errorf("%q: %q is no IPv6 address", s, host)
		}
	}
	if _, err := parsePort(port); err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return s, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q is not a number from 0 to 65535", s)
	}
	return uint16(n), nil
}

// parseAddrPort reads ADDRESS:PORT. Names are not looked up: what a server listens on must not depend on the DNS.
func parseAddrPort(s string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not ADDRESS:PORT, such as 0.0.0.0:3478 or [::]:3478", s)
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), nil
}

// parseListen reads ADDRESS:PORT, or :PORT for all addresses of both families.
func parseListen(s string) ([]netip.AddrPort, error) {
	if bare, ok := strings.CutPrefix(s, ":"); ok {
		port, err := parsePort(bare)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), port), netip.AddrPortFrom(netip.IPv6Unspecified(), port),
		}, nil
	}
	return single(parseAddrPort)(s)
}

// parseListenURL reads tcp://ADDRESS:PORT, or tcp://:PORT for all interfaces, an invalid address.
func parseListenURL(s string) ([]netip.AddrPort, error) {
	rest, ok := strings.CutPrefix(s, "tcp://")
	if !ok {
		return nil, fmt.Errorf("%q is not tcp://ADDRESS:PORT", s)
	}
	if bare, ok := strings.CutPrefix(rest, ":"); ok {
		port, err := parsePort(bare)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		return []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, port)}, nil
	}
	return single(parseAddrPort)(rest)
}

func parseIP4(s string) (netip.Addr, error) {
	return parseIP(s, "IPv4", netip.Addr.Is4)
}

func parseIP6(s string) (netip.Addr, error) {
	return parseIP(s, "IPv6", netip.Addr.Is6)
}

func parseIP(s, family string, is func(netip.Addr) bool) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !is(addr.Unmap()) || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an %s address", s, family)
	}
	if addr.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("%q is no address that peers could send to", s)
	}
	return addr.Unmap(), nil
}

func parsePortRange(s string) (PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	from, err1 := parsePort(first)
	to, err2 := parsePort(last)
	if !ok || err1 != nil || err2 != nil || from == 0 || from > to {
		return PortRange{}, fmt.Errorf("%q is not a port range such as 49152-65535", s)
	}
	return PortRange{from, to}, nil
}

// String writes the range as it is read.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// parsePrefix reads a network, or an address as the network of itself.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is not a network such as 192.168.0.0/16 or fd00::/8", s)
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is IPv4 in IPv6 form; write it as IPv4", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits beyond its length; did you mean %q?", s, p.Masked())
	}
	return p, nil
}

// understandURL takes what looks like turn:USER@HOST:PORT, or turns:HOST:PORT; the node reads the parts. A password in it is refused, and
// not repeated in the message.
func understandURL(v value) (string, error) {
	rest, ok := strings.CutPrefix(v.text, "turn:")
	user, host, at := strings.Cut(rest, "@")
	if secure, found := strings.CutPrefix(v.text, "turns:"); found {
		if ok = true; !strings.Contains(secure, "@") {
			secure = "-@" + secure // the device itself
		}
		user, host, at = strings.Cut(secure, "@")
	}
	switch {
	case !ok || !at || user == "" || host == "":
		return "", errors.New("a relay is written turn:USER@HOST:PORT?transport=tcp, or turns:HOST:PORT where this device is known")
	case strings.Contains(user, ":"):
		return "", fmt.Errorf("a password does not stand in the address; put it in a file and name that with %s", relayPasswordFile)
	}
	return v.text, nil
}

func understandFile(v value) (string, error) {
	if v.text == "" {
		return "", errors.New("it is empty")
	}
	return v.resolve(v.text), nil
}

// understandSecret takes env:NAME and looks NAME up. Anything else could be the secret itself and is not repeated.
func understandSecret(v value) (string, error) {
	name, ok := strings.CutPrefix(v.text, "env:")
	if !ok || name == "" || strings.ContainsAny(name, "= ") {
		return "", fmt.Errorf("a secret does not stand here; write env:NAME, or use %s", relayPasswordFile)
	}
	secret := lookup(v.env, name)
	if secret == "" {
		return "", fmt.Errorf("the variable %s is empty or not set", name)
	}
	return secret, nil
}

// show writes a value as it is read.
func show(v any) string {
	switch v := v.(type) {
	case netip.Addr:
		if !v.IsValid() {
			return ""
		}
	case netip.AddrPort: // an invalid address is node.listen's "all interfaces"
		if !v.Addr().IsValid() {
			return fmt.Sprintf(":%d", v.Port())
		}
	}
	return fmt.Sprint(v)
}
