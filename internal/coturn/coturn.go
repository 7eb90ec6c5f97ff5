// Package coturn turns a turnserver.conf into our configuration, and says of every line what became of it.
package coturn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"traverse.internal/config"
)

// Limits of a file: coturn's own example has 800 lines.
const (
	maxBytes = 1 << 20
	maxNotes = 10_000
)

// A Kind is what became of a line.
type Kind string

// The kinds.
const (
	Same    Kind = "same"    // a key of ours says it
	Always  Kind = "always"  // that is how it is here, without being asked
	Nothing Kind = "nothing" // there is no counterpart; Text says what to do instead
	Unknown Kind = "unknown" // no option of turnserver.conf
)

// A Note is what became of one line. It never holds a secret.
type Note struct {
	Line   int    `json:"line"`
	Option string `json:"option"`
	Kind   Kind   `json:"kind"`
	Text   string `json:"text"`
}

func (n Note) String() string {
	return fmt.Sprintf("line %d: %s: %s: %s", n.Line, n.Option, n.Kind, n.Text)
}

// A User is one whose password is known.
type User struct{ Name, Password string }

// Conversion is what a turnserver.conf came to.
type Conversion struct {
	Settings []config.Setting // those that are not the default
	Users    []User
	Secrets  []string
	Notes    []Note // one a line of the file that is not empty and no comment
}

// Files says where users and secrets are going to be; the configuration names them where there are any.
type Files struct{ Users, Secrets string }

// reader collects what the lines say.
type reader struct {
	Conversion
	line  int
	flags map[string]string // of config.Load
	from  map[string]int    // the line that a flag comes from

	ips, relays           []netip.Addr
	port, tlsPort         string
	minPort, maxPort      string
	noUDP, noTCP, noTLS   bool
	noDTLS                bool
	denied, allowed       []span
	prometheus            bool
	promPort, promAddress string
	alternates            []string
}

// Convert reads the file. An error is about a line whose option is known and whose value cannot be taken; unknown options
// are notes.
func Convert(text []byte, files Files) (Conversion, error) {
	if len(text) > maxBytes {
		return Conversion{}, fmt.Errorf("coturn: the file is longer than %d bytes", maxBytes)
	}
	r := &reader{flags: map[string]string{}, from: map[string]int{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxBytes+1)
	for lines.Scan() {
		r.line++
		if err := r.take(lines.Text()); err != nil {
			return Conversion{}, fmt.Errorf("coturn: line %d: %w", r.line, err)
		}
		if len(r.Notes) > maxNotes {
			return Conversion{}, fmt.Errorf("coturn: the file has more than %d options", maxNotes)
		}
	}
	if err := lines.Err(); err != nil {
		return Conversion{}, fmt.Errorf("coturn: %w", err)
	}
	return r.finish(files)
}

// take reads one line: an option, and behind = or a space its value.
func (r *reader) take(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	name, value := line, ""
	if i := strings.IndexAny(line, "= \t"); i >= 0 {
		name = line[:i]
		value = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line[i:]), "="))
	}
	name = strings.TrimLeft(name, "-")
	o, ok := options[name]
	if !ok {
		r.note(shown(name), Unknown, "no option of turnserver.conf that this program knows")
		return nil
	}
	if o.take != nil {
		if err := o.take(r, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if o.text != "" {
		r.note(name, o.kind, o.text)
	}
	return nil
}

func (r *reader) note(option string, kind Kind, text string) {
	r.Notes = append(r.Notes, Note{r.line, option, kind, text})
}

// shown cuts what could be a secret in the place of an option, or would fill a terminal.
func shown(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, name)
	return clean[:min(len(clean), 40)]
}

// set says a key of ours.
func (r *reader) set(flag, value string) {
	r.flags[flag], r.from[flag] = value, r.line
}

// finish puts together what several lines say.
func (r *reader) finish(files Files) (Conversion, error) {
	r.listeners()
	if r.minPort != "" || r.maxPort != "" {
		r.flags["port-range"] = or(r.minPort, "49152") + "-" + or(r.maxPort, "65535")
	}
	for _, ip := range r.relays {
		flag := "relay-ip4"
		if ip.Is6() {
			flag = "relay-ip6"
		}
		if have := r.flags[flag]; have != "" && have != ip.String() {
			return Conversion{}, fmt.Errorf("coturn: relay-ip: %s and %v; there is one address of each family here", have, ip)
		}
		r.flags[flag] = ip.String()
	}
	// coturn's exceptions win over its denials; here denials win. So they are taken out of them.
	if prefixes := minus(r.denied, r.allowed); len(prefixes) > 0 {
		r.flags["deny-peer"] = join(prefixes)
	}
	if prefixes := minus(r.allowed, nil); len(prefixes) > 0 {
		r.flags["allow-peer"] = join(prefixes)
	}
	if r.prometheus {
		r.flags["metrics"] = hostPort(or(r.promAddress, "127.0.0.1"), or(r.promPort, "9641"))
	}
	if len(r.alternates) > 0 {
		r.flags["alternate"] = strings.Join(r.alternates, ",")
	}
	if len(r.Users) > 0 {
		r.flags["users-file"] = files.Users
	}
	if len(r.Secrets) > 0 {
		r.flags["auth-secret-file"] = files.Secrets
	}
	conf, err := config.Load("", nil, r.flags)
	if err != nil {
		var wrong *config.Error
		if errors.As(err, &wrong) {
			if line := r.from[strings.TrimPrefix(wrong.Where, "--")]; line > 0 {
				return Conversion{}, fmt.Errorf("coturn: line %d: %w", line, wrong.Err)
			}
		}
		return Conversion{}, fmt.Errorf("coturn: %w", err)
	}
	r.Settings = slices.DeleteFunc(conf.Settings("turnd"), func(s config.Setting) bool { return s.Layer == "default" })
	return r.Conversion, nil
}

// listeners are every listening address with every port.
func (r *reader) listeners() {
	at := func(port string) string {
		if len(r.ips) == 0 {
			return ":" + port
		}
		var all []string
		for _, ip := range r.ips {
			all = append(all, hostPort(ip.String(), port))
		}
		return strings.Join(all, ",")
	}
	plain := at(or(r.port, "3478"))
	for flag, off := range map[string]bool{"listen-udp": r.noUDP, "listen-tcp": r.noTCP} {
		switch {
		case off:
			r.flags[flag] = ""
		case plain != ":3478":
			r.flags[flag] = plain
		}
	}
	if r.flags["cert"] == "" || r.flags["key"] == "" {
		return
	}
	secure := at(or(r.tlsPort, "5349"))
	if !r.noTLS {
		r.flags["listen-tls"] = secure
	}
	known := slices.ContainsFunc(config.Keys("turnd"), func(k config.Key) bool { return k.Flag == "listen-dtls" })
	if !r.noDTLS && known {
		r.flags["listen-dtls"] = secure
	}
}

// TOML writes the configuration, with the notes that need somebody's eyes as comments in front.
func (c Conversion) TOML() string {
	var b strings.Builder
	b.WriteString("# Made from a turnserver.conf by: turnd config from-coturn\n")
	b.WriteString("# Peers in private and other special-purpose networks are refused here unless turnd.allow_peer names them.\n")
	for _, n := range c.Notes {
		if n.Kind == Nothing || n.Kind == Unknown {
			b.WriteString("# " + n.String() + "\n")
		}
	}
	b.WriteByte('\n')
	b.WriteString(config.WriteTOML(c.Settings, nil))
	return b.String()
}

// Unknown counts the lines that could not be understood.
func (c Conversion) Unknown() (n int) {
	for _, note := range c.Notes {
		if note.Kind == Unknown {
			n++
		}
	}
	return n
}

// Options lists every option that is known, sorted, with what becomes of it.
func Options() []Note {
	var out []Note
	for _, name := range slices.Sorted(maps.Keys(options)) {
		out = append(out, Note{Option: name, Kind: options[name].kind, Text: options[name].text})
	}
	return out
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func hostPort(host, port string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

func parsePort(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q is no port", s)
	}
	return strconv.FormatUint(n, 10), nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil || a.Zone() != "" {
		return a, fmt.Errorf("%q is no address", s)
	}
	return a.Unmap(), nil
}

func join(list []netip.Prefix) string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}
