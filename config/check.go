package config

import (
	"errors"
	"fmt"
	"net/netip"
)

// check names the first thing that is wrong between values that are right each by itself.
func (c *Config) check() error {
	wrong := func(key string, format string, args ...any) error {
		return &Error{Key: key, Where: c.Origin(key).Where, Err: fmt.Errorf(format, args...)}
	}
	if len(c.Node.Listen) == 0 {
		return wrong("node.listen", "it is empty")
	}
	for _, a := range c.Node.Listen[1:] {
		if a.Port() != c.Node.Listen[0].Port() {
			return wrong("node.listen", "ports %d and %d; a device has one", c.Node.Listen[0].Port(), a.Port())
		}
	}
	if c.Signalling.Patience > c.Signalling.Timeout {
		return wrong("signalling.patience", "%v are more than signalling.timeout, %v", c.Signalling.Patience, c.Signalling.Timeout)
	}
	if err := c.checkPath(wrong); err != nil {
		return err
	}
	for i, r := range c.Relays {
		name := func(key string) string { return originName(key, i) }
		switch {
		case r.URL == "":
			return wrong(name(relayURL), "it is missing from [[relay]] number %d", i+1)
		case r.ByDevice() && r.PasswordFile+r.Password != "":
			return wrong(name(relayURL), "the relay has a password and no user")
		case r.PasswordFile == "" && r.Password == "" && !r.ByDevice():
			return &Error{Key: name(relayURL), Where: c.Origin(name(relayURL)).Where, Err: fmt.Errorf("the relay has no %s", relayPasswordFile)}
		case r.PasswordFile != "" && r.Password != "":
			return wrong(name(relayPassword), "there is %s too; one of them", relayPasswordFile)
		}
	}
	if len(c.Turnd.ListenTLS) > 0 && len(c.Turnd.ACME.Domains) == 0 && (c.Turnd.Cert == "" || c.Turnd.Key == "") {
		return wrong("turnd.listen_tls", "it takes turnd.cert_file and turnd.key_file, or turnd.acme.domains")
	}
	if len(c.Turnd.ListenDTLS) > 0 && len(c.Turnd.ACME.Domains) == 0 && (c.Turnd.Cert == "" || c.Turnd.Key == "") {
		return wrong("turnd.listen_dtls", "it takes turnd.cert_file and turnd.key_file, or turnd.acme.domains")
	}
	if len(c.Turnd.ListenUDP)+len(c.Turnd.ListenTCP)+len(c.Turnd.ListenTLS)+len(c.Turnd.ListenDTLS) == 0 {
		return wrong("turnd.listen_udp", "neither it nor turnd.listen_tcp has an address")
	}
	for _, l := range []struct {
		key  string
		list []netip.AddrPort
	}{{"node.listen", c.Node.Listen}, {"turnd.listen_udp", c.Turnd.ListenUDP}, {"turnd.listen_tcp", c.Turnd.ListenTCP}, {"turnd.listen_tls", c.Turnd.ListenTLS}, {"turnd.listen_dtls", c.Turnd.ListenDTLS}} {
		if err := twice(l.list); err != nil {
			return wrong(l.key, "%w", err)
		}
	}
	if err := c.checkMint(wrong); err != nil {
		return err
	}
	return c.checkACME(wrong)
}

func twice(list []netip.AddrPort) error {
	seen := map[netip.AddrPort]bool{}
	for _, a := range list {
		if seen[a] {
			return errors.New(show(a) + " is there twice")
		}
		seen[a] = true
	}
	return nil
}
