package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/gob"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	stdtls "crypto/tls"

	piondtls "github.com/pion/dtls/v2"

	"traverse.internal/core/dtlsserver"
)

// OneTime is a certificate made for DTLS on one connection. DTLS 1.2 shows certificates to everybody on the way; this one says
// nothing about the device. Its fingerprint travels in the sealed offer.
type OneTime struct {
	cert        stdtls.Certificate
	fingerprint [sha256.Size]byte
}

// NewOneTime makes a key and a certificate.
func NewOneTime() (*OneTime, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("tls: one-time key: %w", err)
	}
	// The same for everybody: the dates of RFC 5280 §4.1.2.5 for "no date", no names, a random number.
	template := x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(append([]byte{1}, random(8)...)),
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("tls: one-time certificate: %w", err)
	}
	return &OneTime{
		cert:        stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: crypto.PrivateKey(key)},
		fingerprint: sha256.Sum256(der),
	}, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// Fingerprint is the SHA-256 of the certificate, 32 bytes.
func (o *OneTime) Fingerprint() []byte { return bytes.Clone(o.fingerprint[:]) }

const (
	// flightAgain is when a flight without an answer is sent again. RFC 6347 §4.2.4.1 has 1 s for paths that nobody knows; on ours
	// checks have just gone both ways.
	flightAgain = 300 * time.Millisecond
	dtlsMTU     = 1200 - 60 // of handshake datagrams; what is below adds its own
)

// shakeHands runs the DTLS handshake on under and returns what protects records, what exports keys, and the datagrams
// that came early.
func shakeHands(ctx context.Context, under Datagrams, server bool, own *OneTime, peerPrint []byte) (*records, *piondtls.State, error) {
	seen := false
	cfg := &piondtls.Config{
		Certificates:         []stdtls.Certificate{own.cert},
		CipherSuites:         []piondtls.CipherSuiteID{piondtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		ExtendedMasterSecret: piondtls.RequireExtendedMasterSecret,
		FlightInterval:       flightAgain,
		ClientAuth:           piondtls.RequireAnyClientCert,
		InsecureSkipVerify:   true, // the fingerprint decides
		// Cookies prove an address; ICE has proven it.
		InsecureSkipVerifyHello: true,
		SupportedProtocols:      []string{ALPN},
		MTU:                     dtlsMTU,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return &FingerprintError{}
			}
			if got := sha256.Sum256(raw[0]); !bytes.Equal(got[:], peerPrint) {
				return &FingerprintError{Want: peerPrint, Got: got[:]}
			}
			seen = true
			return nil
		},
	}
	shim := &handshakeConn{under: under}
	side := piondtls.ClientWithContext
	if server {
		side = piondtls.ServerWithContext
	}
	conn, err := side(ctx, shim, cfg)
	if err != nil {
		_ = shim.Close()
		return nil, nil, classifyDTLS(ctx, err, shim.alert)
	}
	state := conn.ConnectionState()
	shim.cut.Store(true) // its good-bye is not the connection's
	_ = conn.Close()
	shim.restore()
	if !seen {
		return nil, nil, &FingerprintError{Want: peerPrint}
	}
	session, err := adopt(&state, server, shim.last)
	if err != nil {
		return nil, nil, err
	}
	return &records{under: under, session: session, early: shim.early}, &state, nil
}

// agreed has the names of what pion's State encodes itself to (its MarshalBinary is gob of a struct). There is no other way
// to the secret, which its key log would give by name of the client's random number.
type agreed struct {
	LocalEpoch     uint16
	LocalRandom    [32]byte
	RemoteRandom   [32]byte
	CipherSuiteID  uint16
	MasterSecret   []byte
	SequenceNumber uint64
}

var errState = errors.New("the handshake's state cannot be read")

// adopt moves the connection to our own record layer: pion's takes two goroutines and some allocations a record, and draws
// its nonces at random.
func adopt(state *piondtls.State, server bool, last []byte) (*dtlsserver.Session, error) {
	raw, err := state.MarshalBinary()
	if err != nil {
		return nil, &HandshakeError{Fault: FaultOther, Err: err}
	}
	var a agreed
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&a); err != nil || a.LocalEpoch != 1 || len(a.MasterSecret) != 48 {
		return nil, &HandshakeError{Fault: FaultOther, Err: errState}
	}
	out := dtlsserver.Agreed{
		Client: !server, Suite: a.CipherSuiteID, Master: a.MasterSecret, Next: a.SequenceNumber,
		ClientRandom: a.LocalRandom[:], ServerRandom: a.RemoteRandom[:],
	}
	if server {
		out.ClientRandom, out.ServerRandom, out.Final = out.ServerRandom, out.ClientRandom, last
	}
	s, ok := dtlsserver.Adopt(out)
	if !ok {
		return nil, &HandshakeError{Fault: FaultOther, Err: errState}
	}
	return s, nil
}

// classifyDTLS turns what a failed handshake returned into one of the package's errors.
func classifyDTLS(ctx context.Context, err error, alert uint8) error {
	var print *FingerprintError
	switch {
	case errors.As(err, &print):
		return print
	case errors.Is(ctx.Err(), context.Canceled):
		return &HandshakeError{Fault: FaultCancelled, Err: err}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &HandshakeError{Fault: FaultTimeout, Err: err}
	case alert != 0:
		return &RefusedError{Alert: alert}
	case errors.Is(err, net.ErrClosed):
		return &HandshakeError{Fault: FaultStream, Err: err}
	}
	return &HandshakeError{Fault: FaultOther, Err: err}
}
