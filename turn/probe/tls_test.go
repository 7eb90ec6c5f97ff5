package probe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/turn"
	"traverse.internal/turn/probe"
)

// Over TLS everything works too, data connections included, and the certificate is looked at.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"},
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
		c.CertFile, c.KeyFile = certFile, keyFile
	})
	conf := config(s, "tls")
	conf.Server, conf.ServerName, conf.Roots = s.TLSAddrs()[0], "relay.test", x509.NewCertPool()
	if !conf.Roots.AppendCertsFromPEM(cert) {
		t.Fatal("no certificate")
	}
	report, err := probe.Run(t.Context(), conf)
	if err != nil || len(report.Steps) != 1+2*4+1 || report.Steps[9].Detail != "relay to relay over TCP" {
		t.Errorf("%v, %+v", err, report.Steps)
	}
	conf.ServerName = "other.test"
	_, err = probe.Run(t.Context(), conf)
	var e *probe.Error
	if !errors.As(err, &e) || e.Kind != probe.Auth {
		t.Errorf("another server's certificate: got %v", err)
	}
}
