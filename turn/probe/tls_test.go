package probe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/turn"
	"traverse.internal/turn/probe"
)

// Over TLS and DTLS everything works too, over TLS data connections included, and the certificate is looked at.
func TestSecured(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile, keyFile := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	for path, content := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, func(c *turn.Config) {
		c.ListenTLS = []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
		c.ListenDTLS = c.ListenTLS
		c.CertFile, c.KeyFile = certFile, keyFile
	})
	for _, c := range []struct {
		network string
		server  netip.AddrPort
		steps   int
		last    string
	}{
		{"tls", s.TLSAddrs()[0], 1 + 2*4 + 1, "relay to relay over TCP"},
		{"dtls", s.DTLSAddrs()[0], 1 + 2*4, "both ways"},
	} {
		conf := config(s, c.network)
		conf.Server, conf.Roots = c.server, x509.NewCertPool()
		if !conf.Roots.AppendCertsFromPEM(cert) {
			t.Fatal("no certificate")
		}
		for _, name := range []string{"relay.test", "127.0.0.1"} {
			conf.ServerName = name
			report, err := probe.Run(t.Context(), conf)
			if (c.network == "tls") != (report.Expires != nil) {
				t.Errorf("%s: the certificate expires %v", c.network, report.Expires)
			}
			if err != nil || len(report.Steps) != c.steps || report.Steps[c.steps-1].Detail != c.last {
				t.Errorf("%s: %v, %+v", c.network, err, report.Steps)
			}
		}
		for _, name := range []string{"other.test", "127.0.0.2"} {
			conf.ServerName = name
			_, err = probe.Run(t.Context(), conf)
			var e *probe.Error
			if !errors.As(err, &e) || e.Kind != probe.Auth {
				t.Errorf("%s: another server's certificate: got %v", c.network, err)
			}
		}
	}
}
