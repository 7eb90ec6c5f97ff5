package turnclient_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/turnclient"
	"traverse.internal/identity"
	"traverse.internal/turn"
)

// trusted makes the certificate of a relay on loopback, and has this process' authorities vouch for it. They are read
// once, so that there is one for the whole test binary.
func trusted(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", certFile)
	return certFile, keyFile
}

// A device gets a relay over TLS by its certificate, without any secret, and bare connections through it. Another device
// does not, nor does who says its name.
func TestDeviceCertificate(t *testing.T) {
	certFile, keyFile := trusted(t)
	device := func() *identity.Device {
		t.Helper()
		d, err := identity.New()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	ours, other := device(), device()
	lo := netip.MustParseAddr("127.0.0.1")
	config := turn.Config{
		ListenTLS: []netip.AddrPort{netip.AddrPortFrom(lo, 0)}, CertFile: certFile, KeyFile: keyFile,
		Realm: "r", Devices: []identity.DeviceID{ours.ID()}, RelayIP4: lo, AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	s, err := turn.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	allocate := func(name, password string, tls *turnclient.TLS) (*turnclient.Client, *turnclient.Allocation, error) {
		c, err := turnclient.Dial(t.Context(), turnclient.Config{Server: s.TLSAddrs()[0], Username: name, Password: password, TLS: tls})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		a, err := c.Allocate(t.Context(), turnclient.IPv4)
		return c, a, err
	}
	refused := func(what string, err error) {
		t.Helper()
		var e *turnclient.Error
		if !errors.As(err, &e) || e.Code != stun.CodeUnauthenticated {
			t.Errorf("%s: %v, want 401", what, err)
		}
	}
	_, _, err = allocate(other.ID().String(), "", turnclient.NewTLS("127.0.0.1", other.Certificate()))
	refused("a device that is not on the list", err)
	_, _, err = allocate(ours.ID().String(), "", turnclient.NewTLS("127.0.0.1", other.Certificate()))
	refused("another device by our name", err)
	_, _, err = allocate(ours.ID().String(), "", turnclient.NewTLS("127.0.0.1"))
	refused("our name without a certificate", err)
	_, _, err = allocate(ours.ID().String(), "guessed", turnclient.NewTLS("127.0.0.1", ours.Certificate()))
	refused("our certificate and a password of another connection", err)

	client, a, err := allocate(ours.ID().String(), "", turnclient.NewTLS("127.0.0.1", ours.Certificate()))
	if err != nil {
		t.Fatalf("our device: %v", err)
	}
	if err := a.Permit(t.Context(), lo); err != nil {
		t.Fatal(err)
	}
	if got := s.Sessions()[0].User; got != ours.ID().String() {
		t.Errorf("the session is of %q", got)
	}
	peer, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(a.Relayed()))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, _, err := a.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	for _, way := range [][2]*net.TCPConn{{conn, peer}, {peer, conn}} {
		sent := make(chan error, 1)
		go func() {
			_, err := way[0].Write(text)
			sent <- errors.Join(err, way[0].CloseWrite())
		}()
		got, err := io.ReadAll(way[1])
		if err = errors.Join(err, <-sent); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d of %d bytes, %v", len(got), len(text), err)
		}
	}
	config.Devices = nil
	if _, err := s.Reload(config); err != nil {
		t.Fatal(err)
	}
	refused("after the device was taken from the list", a.Permit(t.Context(), netip.MustParseAddr("127.0.0.2")))
	_ = client.Close()
}
