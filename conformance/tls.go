package conformance

import (
	stdtls "crypto/tls"
	"net"
	"time"

	"traverse.internal/core/stun"
)

// tlsConfig is that of a client, from TLS 1.2 on: RFC 8489 §6.2.3.
func (p *probe) tlsConfig(protocols ...string) *stdtls.Config {
	name := p.config.ServerName
	if name == "" {
		name = p.server.Addr().String()
	}
	return &stdtls.Config{
		ServerName: name, RootCAs: p.config.Roots, MinVersion: stdtls.VersionTLS12, NextProtos: protocols,
	}
}

// secure makes a connection one over TLS, as a client that names no protocol.
func (p *probe) secure(conn net.Conn) *stdtls.Conn {
	secured := stdtls.Client(conn, p.tlsConfig())
	if err := p.handshake(secured); err != nil {
		conn.Close()
		p.skipf("no TLS with the server: %v", err)
	}
	return secured
}

func (p *probe) handshake(conn *stdtls.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(p.config.Wait))
	defer func() { _ = conn.SetDeadline(time.Time{}) }()
	return conn.HandshakeContext(p.ctx)
}

func secured(p *probe) {
	if !p.config.Secure {
		p.skipf("needs a TLS listener: turns:")
	}
	dial := func(config *stdtls.Config) (*stdtls.Conn, error) {
		d := net.Dialer{Timeout: p.config.Wait}
		conn, err := d.DialContext(p.ctx, "tcp", p.server.String())
		p.must(err)
		p.atEnd(func() { conn.Close() })
		c := stdtls.Client(conn, config)
		return c, p.handshake(c)
	}
	old := p.tlsConfig()
	old.MinVersion, old.MaxVersion = stdtls.VersionTLS10, stdtls.VersionTLS11
	if c, err := dial(old); err == nil {
		p.failf("a client of TLS 1.1: expected a refusal, got %s", stdtls.VersionName(c.ConnectionState().Version))
	}
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		config := p.tlsConfig("stun.turn")
		config.MinVersion, config.MaxVersion = version, version
		c, err := dial(config)
		if err != nil {
			if version == stdtls.VersionTLS13 {
				p.note = "TLS 1.2 only"
				break
			}
			p.failf("a client of %s with ALPN stun.turn: %v", stdtls.VersionName(version), err)
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != "stun.turn" {
			p.failf("ALPN stun.turn: expected it to be chosen, got %q", got)
		}
	}
	// RFC 7443 §3: who offers several gets one of them.
	c, err := dial(p.tlsConfig("stun.nat-discovery", "stun.turn"))
	if err != nil {
		p.failf("ALPN stun.nat-discovery and stun.turn: %v", err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got == "" {
		p.failf("ALPN stun.nat-discovery and stun.turn: expected one of them to be chosen, got none")
	}
	plain := p.dial() // names no protocol
	relayed := plain.allocate()
	peer := p.peerFor(relayed)
	plain.bind(0x4000, peer.addr)
	plain.onChannel(0x4000, []byte("secured"))
	peer.expect("through TLS", []byte("secured"))
	peer.send(relayed, []byte("and back"))
	plain.fromChannel("through TLS", 0x4000, []byte("and back"))
	p.want("Refresh", plain.ask(stun.MethodRefresh), success)
}
