package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Kind is what a channel is asked for.
type Kind string

// The kinds of request, as a channel's name begins with them.
const (
	KindPipe    Kind = "pipe"    // pipe/NAME: a program that listens under the name
	KindService Kind = "service" // service/NAME: an exposed service
	KindTCP     Kind = "tcp"     // tcp/HOST:PORT: an exposed address
	KindUDP     Kind = "udp"     // udp/HOST:PORT: an exposed address, for datagrams

	KindDatagrams Kind = "datagrams" // datagrams/NAME: an exposed service of datagrams

	KindListen Kind = "listen" // listen/TOKEN/HOST:PORT: listen there for me, and open back/TOKEN for each connection
	KindBack   Kind = "back"   // back/TOKEN: a connection to what I asked you to listen on
)

const (
	maxName = 64 // bytes of a service's or pipe's name
	maxHost = 253
)

// Request is the name of a service's channel, taken apart.
type Request struct {
	Kind Kind
	Name string // KindPipe, KindService, KindDatagrams: the name; KindListen, KindBack: the token
	Host string // KindTCP, KindUDP, KindListen: a name or an address
	Port uint16
}

// ErrNoRequest is a channel name that is not a service's.
var ErrNoRequest = errors.New("service: not the name of a service's channel")

// ParseRequest parses a channel's name. Names of other kinds of channels are ErrNoRequest.
func ParseRequest(name string) (Request, error) {
	kind, rest, ok := strings.Cut(name, "/")
	r := Request{Kind: Kind(kind), Name: rest}
	if !ok {
		return Request{}, ErrNoRequest
	}
	var err error
	switch r.Kind {
	case KindPipe, KindService, KindDatagrams, KindBack:
		err = CheckName(rest)
	case KindTCP, KindUDP:
		r.Name = ""
		r.Host, r.Port, err = ParseHostPort(rest)
	case KindListen:
		token, address, _ := strings.Cut(rest, "/")
		r.Name = token
		if err = CheckName(token); err == nil {
			r.Host, r.Port, err = parseBind(address)
		}
	default:
		return Request{}, ErrNoRequest
	}
	if err != nil {
		return Request{}, fmt.Errorf("service: request %q: %w", name, err)
	}
	return r, nil
}

// String is the channel's name.
func (r Request) String() string {
	address := net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
	switch r.Kind {
	case KindTCP, KindUDP:
		return string(r.Kind) + "/" + address
	case KindListen:
		return "listen/" + r.Name + "/" + address
	}
	return string(r.Kind) + "/" + r.Name
}

// CheckName says what keeps a text from being a name of a service or a pipe.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name has %d bytes, at most %d fit", len(name), maxName)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fmt.Errorf("the name contains %q; letters, digits, and after the first one dot, dash and underscore fit", r)
		}
	}
	return nil
}

// ParseHostPort parses HOST:PORT, the host a name or an address without a zone, the port not 0.
func ParseHostPort(s string) (host string, port uint16, err error) {
	host, port, err = parseBind(s)
	if err == nil && port == 0 {
		err = errors.New("port 0 is none")
	}
	return host, port, err
}

// parseBind is ParseHostPort with port 0 for any.
func parseBind(s string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not HOST:PORT", s)
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q is not between 1 and 65535", digits)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return "", 0, errors.New("the address has a zone")
		}
		return a.Unmap().String(), uint16(n), nil
	}
	if host == "" || len(host) > maxHost {
		return "", 0, errors.New("the host is missing or too long")
	}
	for _, r := range host {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r) {
			return "", 0, fmt.Errorf("the host contains %q", r)
		}
	}
	return strings.ToLower(host), uint16(n), nil
}

// Target is where an exposed service is: one address or a range of them.
type Target struct {
	Network string       // tcp, udp or unix
	Address string       // HOST:PORT or a path; of a range as it was written
	Range   netip.Prefix // valid for a range of addresses
	Port    uint16       // of a range; 0: every port
}

// ParseTarget parses PORT (on this machine), HOST:PORT, unix:PATH, or NETWORK/BITS:PORT for a range of addresses, PORT there also "*"; udp: in front
// of an address with a port means datagrams.
func ParseTarget(s string) (Target, error) {
	if rest, ok := strings.CutPrefix(s, "udp:"); ok {
		t, err := ParseTarget(rest)
		if err == nil && t.Network != "tcp" {
			err = errors.New("udp: needs an address with a port")
		}
		if err != nil {
			return Target{}, err
		}
		t.Network = "udp"
		return t, nil
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" || strings.ContainsRune(path, 0) {
			return Target{}, errors.New("unix: needs a path")
		}
		return Target{Network: "unix", Address: path}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
		return Target{Network: "tcp", Address: net.JoinHostPort("127.0.0.1", s)}, nil
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 && strings.Contains(s[:i], "/") {
		p, err := netip.ParsePrefix(strings.NewReplacer("[", "", "]", "").Replace(s[:i]))
		if err != nil {
			return Target{}, fmt.Errorf("%q is not a network: %w", s[:i], err)
		}
		t := Target{Network: "tcp", Address: s, Range: p.Masked()}
		if s[i+1:] != "*" {
			n, err := strconv.ParseUint(s[i+1:], 10, 16)
			if err != nil || n == 0 {
				return Target{}, fmt.Errorf("port %q is neither * nor between 1 and 65535", s[i+1:])
			}
			t.Port = uint16(n)
		}
		return t, nil
	}
	host, port, err := ParseHostPort(s)
	if err != nil {
		return Target{}, err
	}
	return Target{Network: "tcp", Address: net.JoinHostPort(host, strconv.Itoa(int(port)))}, nil
}

// covers tells whether an address is in the range.
func (t Target) covers(a netip.AddrPort) bool {
	return t.Range.IsValid() && t.Range.Contains(a.Addr().Unmap()) && (t.Port == 0 || t.Port == a.Port())
}

// String is the target as ParseTarget takes it.
func (t Target) String() string {
	if t.Network != "tcp" {
		return t.Network + ":" + t.Address
	}
	return t.Address
}

// ParseDestination parses what a forward goes to at the peer: a service's name, or HOST:PORT.
func ParseDestination(s string) (Request, error) {
	if strings.ContainsRune(s, ':') {
		return ParseRequest(string(KindTCP) + "/" + s)
	}
	return ParseRequest(string(KindService) + "/" + s)
}

// ParseFlow is ParseDestination for datagrams.
func ParseFlow(s string) (Request, error) {
	if strings.ContainsRune(s, ':') {
		return ParseRequest(string(KindUDP) + "/" + s)
	}
	return ParseRequest(string(KindDatagrams) + "/" + s)
}

// ParseListen parses [HOST:]PORT, on loopback without a host, or unix:PATH, into what net.Listen takes.
func ParseListen(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" || strings.ContainsRune(path, 0) {
			return "", "", errors.New("unix: needs a path")
		}
		return "unix", path, nil
	}
	if !strings.ContainsRune(s, ':') {
		s = "127.0.0.1:" + s
	}
	host, port, err := parseBind(s)
	if err != nil {
		return "", "", err
	}
	return "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}
