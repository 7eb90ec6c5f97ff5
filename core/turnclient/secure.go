package turnclient

import (
	"context"
	stdtls "crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"sync/atomic"

	"traverse.internal/core/stun"
)

// deviceLabel is what a device's password is exported by (RFC 8446 §7.5), with no context: docs/protocol/turn.md.
const deviceLabel = "EXPORTER-Traverse-TURN-device"

// TLS says how the connections to a relay are secured. It does not change after its making.
type TLS struct {
	config *stdtls.Config
	device bool
}

// NewTLS is for a relay that is called host, and whose certificate the system's authorities must vouch for
// (SSL_CERT_FILE adds one's own). A client certificate, if any, is a device's: to a relay that knows it, Config.Username is
// the device's id, and Config.Password stays empty.
func NewTLS(host string, device ...stdtls.Certificate) *TLS {
	return &TLS{
		config: &stdtls.Config{
			MinVersion: stdtls.VersionTLS13,                                           // before it an exporter may not be bound to the connection
			ServerName: host, NextProtos: []string{"stun.turn"}, Certificates: device, // RFC 7443
		},
		device: len(device) > 0,
	}
}

// secure makes the TLS handshake, when there is TLS; conn is closed when that fails.
func (cfg *Config) secure(ctx context.Context, conn *net.TCPConn) (net.Conn, error) {
	if cfg.TLS == nil {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	secured := stdtls.Client(conn, cfg.TLS.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// password is the one to use on a connection: the configured one, or a device's, which the connection itself gives out.
func (cfg *Config) password(conn net.Conn) (string, error) {
	secured, ok := conn.(*stdtls.Conn)
	if !ok || !cfg.TLS.device || cfg.Password != "" {
		return cfg.Password, nil
	}
	state := secured.ConnectionState()
	secret, err := state.ExportKeyingMaterial(deviceLabel, nil, 32)
	return base64.RawURLEncoding.EncodeToString(secret), err
}

// on returns the credentials as they are on another connection, where a device has another password.
func (cr credentials) on(password string) credentials {
	if cr.key != nil {
		cr.key = stun.LongTermKey(cr.user, cr.realm, password)
	}
	return cr
}

// bridge lends a bare TCP connection for one inside TLS, for those who give it to the kernel: a pair on loopback with two
// goroutines between. It costs one copy and two descriptors, and only turns: pays that.
type bridge struct {
	secured *stdtls.Conn
	inner   *net.TCPConn
	ended   atomic.Int32 // directions
}

// bare returns conn itself, or for a TLS connection the bare end of a bridge to it, which ends with the client.
func (c *Client) bare(conn net.Conn) (*net.TCPConn, error) {
	secured, ok := conn.(*stdtls.Conn)
	if !ok {
		return conn.(*net.TCPConn), nil
	}
	outer, inner, err := loopbackPair()
	if err != nil {
		return nil, err
	}
	b := &bridge{secured: secured, inner: inner}
	stop := context.AfterFunc(c.life, b.close)
	if err := c.start(func() { b.up(stop) }, func() { b.down(stop) }); err != nil {
		stop()
		b.close()
		_ = outer.Close()
		return nil, err
	}
	return outer, nil
}

func (b *bridge) up(stop func() bool) {
	_, err := io.Copy(b.secured, b.inner)
	if err == nil {
		err = b.secured.CloseWrite()
	}
	b.end(err, stop)
}

func (b *bridge) down(stop func() bool) {
	_, err := io.Copy(b.inner, b.secured)
	if err == nil {
		err = b.inner.CloseWrite()
	}
	b.end(err, stop)
}

// end closes both sides with the second direction, or with a failure of the first.
func (b *bridge) end(err error, stop func() bool) {
	if err != nil {
		_ = b.inner.SetLinger(0) // a cut stays a cut
	}
	if b.ended.Add(1) == 2 || err != nil {
		stop()
		b.close()
	}
}

func (b *bridge) close() {
	_ = b.secured.NetConn().Close()
	_ = b.inner.Close()
}

// loopbackPair returns the two ends of a connection of this machine with itself, which nobody else got into.
func loopbackPair() (a, b *net.TCPConn, err error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		l, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv6loopback})
	}
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		return nil, nil, err
	}
	for { // the kernel has ours in its queue already, if somebody's before
		if b, err = l.AcceptTCP(); err != nil {
			_ = a.Close()
			return nil, nil, err
		}
		if b.RemoteAddr().String() == a.LocalAddr().String() {
			return a, b, nil
		}
		_ = b.Close()
	}
}
