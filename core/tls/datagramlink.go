package tls

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"

	piondtls "github.com/pion/dtls/v2"

	"traverse.internal/core/arq"
	"traverse.internal/core/dtlsserver"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// DatagramLink is an authenticated, encrypted stream to one device over datagrams: DTLS 1.2 below, core/arq above it. It
// is used as a Link is.
type DatagramLink struct {
	*arq.Stream
	peer  identity.DeviceID
	state *piondtls.State
}

// Packet sizes. Every path takes 1,200 bytes (what IPv6 guarantees, less its headers and those of a tunnel); most take 1,400.
const (
	safePacket  = 1200
	hopePacket  = 1400
	pairHead    = 4 // docs/protocol/udp.md: the tag
	perDatagram = pairHead + dtlsserver.Overhead
)

// AsDatagramClient runs the client's side of DTLS on under: the side that speaks first. own is the certificate whose fingerprint was offered, peerPrint
// the one that peer offered. Both devices then prove who they are by signing what the connection exports.
//
// ctx bounds that and nothing after it; give it a deadline. When it fails, under is closed; else it belongs to the link.
func AsDatagramClient(ctx context.Context, under Datagrams, own *OneTime, peerPrint []byte, dev *identity.Device, peer identity.DeviceID) (*DatagramLink, error) {
	return secure(ctx, under, false, own, peerPrint, dev, peer)
}

// AsDatagramServer runs the server's side, like AsDatagramClient.
func AsDatagramServer(ctx context.Context, under Datagrams, own *OneTime, peerPrint []byte, dev *identity.Device, peer identity.DeviceID) (*DatagramLink, error) {
	return secure(ctx, under, true, own, peerPrint, dev, peer)
}

func secure(
	ctx context.Context, under Datagrams, server bool, own *OneTime, peerPrint []byte, dev *identity.Device, peer identity.DeviceID,
) (*DatagramLink, error) {
	records, state, err := shakeHands(ctx, under, server, own, peerPrint)
	if err != nil {
		_ = under.Close()
		return nil, err
	}
	l := &DatagramLink{peer: peer, state: state, Stream: arq.New(records, arq.Config{
		MaxPacket: safePacket - perDatagram, Probe: hopePacket - perDatagram,
	})}
	stop := context.AfterFunc(ctx, func() { _ = l.Stream.Close() })
	err = l.prove(server, dev)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = l.Stream.Close()
		if ctx.Err() != nil {
			return nil, classifyDTLS(ctx, err, 0)
		}
		return nil, err
	}
	return l, nil
}

// The proof: docs/protocol/udp.md 4.
const (
	proofLabel    = "EXPORTER-traverse-device" // of what is exported
	proofContext  = "traverse device proof"    // of what is signed
	proofVersion  = 1
	proofLen      = 1 + ed25519.SignatureSize
	proofExported = 32
)

// proofMessage is what a device signs: nobody else can use it, on another connection or in the other role.
func proofMessage(exported []byte, server bool, signer, other identity.DeviceID) []byte {
	role := byte(1)
	if server {
		role = 0
	}
	m := append([]byte(proofContext), 0, proofVersion, role)
	m = append(m, exported...)
	m = append(m, signer[:]...)
	return append(m, other[:]...)
}

// prove shows the peer our device key, and demands its own.
func (l *DatagramLink) prove(server bool, dev *identity.Device) error {
	exported, err := l.Exporter(proofLabel)
	if err != nil {
		return err
	}
	own := append([]byte{proofVersion}, dev.Sign(proofMessage(exported, server, dev.ID(), l.peer))...)
	if _, err := l.Stream.Write(own); err != nil {
		return &HandshakeError{Fault: FaultStream, Err: err}
	}
	var got [proofLen]byte
	if _, err := io.ReadFull(l.Stream, got[:]); err != nil {
		return &HandshakeError{Fault: FaultStream, Err: err}
	}
	if got[0] != proofVersion {
		return &HandshakeError{Fault: FaultVersion}
	}
	if !ed25519.Verify(l.peer[:], proofMessage(exported, !server, l.peer, dev.ID()), got[1:]) {
		return &ProofError{Want: l.peer}
	}
	return nil
}

// Peer returns the id of the device at the other end.
func (l *DatagramLink) Peer() identity.DeviceID { return l.peer }

// Exporter returns 32 bytes of keying material (RFC 5705) that both ends of this link, and nobody else, get for the same
// label.
func (l *DatagramLink) Exporter(label string) ([]byte, error) {
	key, err := l.state.ExportKeyingMaterial(label, nil, proofExported)
	if err != nil {
		return nil, fmt.Errorf("tls: export %q: %w", label, err)
	}
	return key, nil
}

// A FingerprintError says that the peer showed another certificate than the one it offered.
type FingerprintError struct{ Want, Got []byte }

func (e *FingerprintError) Error() string {
	if e.Got == nil {
		return "tls: peer showed no certificate"
	}
	return fmt.Sprintf("tls: peer's certificate is %s, its offer says %s", hex.EncodeToString(e.Got[:4]), hex.EncodeToString(e.Want[:min(4, len(e.Want))]))
}

// Reason returns AUTH_WRONG_KEY.
func (e *FingerprintError) Reason() reason.Code { return reason.AuthWrongKey }

// A ProofError says that the peer could not sign as the device that was called.
type ProofError struct{ Want identity.DeviceID }

func (e *ProofError) Error() string { return fmt.Sprintf("tls: peer cannot sign as device %s", e.Want) }

// Reason returns AUTH_WRONG_KEY.
func (e *ProofError) Reason() reason.Code { return reason.AuthWrongKey }

var errExhausted = errors.New("tls: the connection has sent all the records it can")

var _ net.Conn = (*DatagramLink)(nil)
