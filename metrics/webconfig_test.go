package metrics

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// TestWebConfig: with a file that asks for TLS and a user, nobody reads without both, and a
// password that is changed in the file counts for the next request.
func TestWebConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	roots := writeCertificate(t, dir)
	writeUsers(t, file, "one")
	_, addr := start(t, Sources{Program: "turnd", WebConfig: file})

	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}, DisableKeepAlives: true,
	}}
	get := func(password string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("prometheus", password)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := get(""); got != http.StatusUnauthorized {
		t.Errorf("without a password: %d", got)
	}
	if got := get("one"); got != http.StatusOK {
		t.Errorf("with the password: %d", got)
	}
	writeUsers(t, file, "two")
	if got := get("one"); got != http.StatusUnauthorized {
		t.Errorf("with the old password: %d", got)
	}
	if got := get("two"); got != http.StatusOK {
		t.Errorf("with the new password: %d", got)
	}
	if got, _ := request(t, http.MethodGet, "http://"+addr+"/metrics"); got != http.StatusBadRequest {
		t.Errorf("plain HTTP on the TLS port: %d", got)
	}
}

// TestWebConfigMistakes: found before anything listens.
func TestWebConfigMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	for _, content := range []string{"tls_server_config:\n  cert_flie: x\n", "basic_auth_users:\n  a: not-a-hash\n", "\x00", "tls_server_config:\n  cert_file: missing.pem\n  key_file: missing.pem\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Listen("127.0.0.1:0", Sources{WebConfig: file}); !errors.Is(err, ErrWebConfig) {
			t.Errorf("%q: %v", content, err)
			if err == nil {
				s.Close()
			}
		}
	}
	if _, err := Listen("127.0.0.1:0", Sources{WebConfig: file + ".none"}); !errors.Is(err, ErrWebConfig) {
		t.Errorf("no such file: %v", err)
	}
}

func writeUsers(t *testing.T, file, password string) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	content := "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: " + string(hash) + "\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeCertificate leaves the certificate that net/http/httptest has for example.com in dir, and
// returns the roots that trust it.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}
