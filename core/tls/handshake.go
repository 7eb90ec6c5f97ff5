package tls

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	stdtls "crypto/tls"

	"traverse.internal/core/ktls"
	"traverse.internal/identity"
)

const (
	refusalWait  = 250 * time.Millisecond // for the peer to take our alert and close
	refusalBytes = 64 << 10               // of what it still sends meanwhile
)

// AsClient runs the client's side of the handshake on raw, the side that speaks first. head holds bytes that somebody
// already read from raw; they come before the rest. dev is who we are, peer whom we expect.
//
// ctx bounds the handshake and nothing after it; give it a deadline. When AsClient fails, raw is closed. When it
// succeeds raw belongs to the Link, and head too.
func AsClient(ctx context.Context, raw net.Conn, head []byte, dev *identity.Device, peer identity.DeviceID) (*Link, error) {
	return handshake(ctx, raw, head, dev, peer, false)
}

// AsServer runs the server's side of the handshake on raw, like AsClient. When it returns, the peer has proved its key.
func AsServer(ctx context.Context, raw net.Conn, head []byte, dev *identity.Device, peer identity.DeviceID) (*Link, error) {
	return handshake(ctx, raw, head, dev, peer, true)
}

func handshake(
	ctx context.Context, raw net.Conn, head []byte, dev *identity.Device, peer identity.DeviceID,
	server bool,
) (*Link, error) {
	side := stdtls.Client
	if server {
		side = stdtls.Server
	}
	carrier := newCarrier(raw, head)
	check := &peerCheck{want: peer}
	config := check.config(dev)
	move := prepareMove(raw, config)
	conn := side(carrier, config)
	err := conn.HandshakeContext(ctx)
	if err == nil && !check.passed {
		err = errors.New("peer was not verified") // crypto/tls always calls verify; a link must not depend on that
	}
	if err != nil {
		err = classify(check.explain(err))
		refuse(ctx, raw)
		return nil, err
	}
	l := &Link{conn: conn, carrier: carrier, peer: peer, keyLimit: ktls.MaxRecords}
	if l.kernel, err = move.attach(conn, carrier, server); err != nil {
		_ = raw.Close()
		return nil, &HandshakeError{Fault: FaultOther, Err: err}
	}
	if l.kernel == nil {
		carrier.established()
	}
	return l, nil
}

// A peerCheck is what one handshake demands of the peer, and what it saw.
type peerCheck struct {
	want   identity.DeviceID
	passed bool

	fault Fault // seen in the client's hello, before crypto/tls refuses it
}

func (p *peerCheck) config(dev *identity.Device) *stdtls.Config {
	return &stdtls.Config{
		Certificates: []stdtls.Certificate{dev.Certificate()},
		MinVersion:   stdtls.VersionTLS13,
		NextProtos:   []string{ALPN},
		// Certificates are looked at by verify alone, on both sides. It refuses a client that shows none.
		InsecureSkipVerify:          true,
		ClientAuth:                  stdtls.RequestClientCert,
		VerifyConnection:            p.verify,
		GetConfigForClient:          p.look,
		SessionTicketsDisabled:      true, // also: no record follows the server's Finished but the application's
		DynamicRecordSizingDisabled: true, // or the first 128 KiB go in records of one TCP segment each
	}
}

// look notes why crypto/tls is about to refuse a client's hello, which it says in words only.
func (p *peerCheck) look(hello *stdtls.ClientHelloInfo) (*stdtls.Config, error) {
	switch {
	case !slices.Contains(hello.SupportedVersions, stdtls.VersionTLS13):
		p.fault = FaultVersion
	case !slices.Contains(hello.SupportedProtos, ALPN):
		p.fault = FaultProtocol
	}
	return nil, nil
}

// verify accepts the peer when its certificate has the key of the device that was called. Names, dates and whoever
// signed do not matter: the handshake proves that the peer has the key.
func (p *peerCheck) verify(state stdtls.ConnectionState) error {
	if state.NegotiatedProtocol != ALPN { // a server may choose none
		return &HandshakeError{Fault: FaultProtocol}
	}
	if len(state.PeerCertificates) == 0 {
		return &HandshakeError{Fault: FaultNoCertificate}
	}
	leaf := state.PeerCertificates[0]
	key, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok {
		return &PeerKeyError{Want: p.want, Algorithm: leaf.PublicKeyAlgorithm.String()}
	}
	if got := identity.DeviceID(key); got != p.want {
		return &PeerKeyError{Want: p.want, Got: got, Algorithm: leaf.PublicKeyAlgorithm.String()}
	}
	p.passed = true
	return nil
}

// explain puts what look noted in front of what crypto/tls said, unless the hello is not what failed.
func (p *peerCheck) explain(err error) error {
	var ours *HandshakeError
	if p.fault == 0 || p.passed || errors.As(err, &ours) {
		return err
	}
	return &HandshakeError{Fault: p.fault, Err: err}
}

// refuse closes raw so that the peer can read the alert that crypto/tls left: closing with input unread would reset the
// connection and take the alert with it. After a broken stream or a done context it just closes.
func refuse(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok || ctx.Err() != nil || half.CloseWrite() != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if raw.SetReadDeadline(time.Now().Add(refusalWait)) == nil {
		_, _ = io.CopyN(io.Discard, raw, refusalBytes)
	}
}
