package mint

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/turn"
)

const token = "0123456789abcdef-token"

var begin = time.Unix(1_800_000_000, 0)

func usual() Config {
	return Config{Secret: "s", Tokens: []string{"another-token-of-16", token}, URIs: []string{"turn:relay.example:3478"}, TTL: time.Hour, Rate: 10}
}

// start serves until the test ends.
func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Listen("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return begin }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func ask(t *testing.T, s *Server, method, query, body, bearer string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.Addr().String()+"/"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}

// The answer is the draft's, and what the TURN server takes.
func TestMints(t *testing.T) {
	s := start(t, usual())
	for _, way := range []struct{ name, method, query, body, bearer string }{
		{"header", "GET", "?service=turn&username=anna", "", token},
		{"the draft's key", "GET", "?service=turn&username=anna&key=" + token, "", ""},
		{"form", "POST", "", "username=anna&key=" + token, ""},
	} {
		t.Run(way.name, func(t *testing.T) {
			code, text := ask(t, s, way.method, way.query, way.body, way.bearer)
			var got credentials
			if code != 200 || json.Unmarshal(text, &got) != nil {
				t.Fatalf("%d %s", code, text)
			}
			name, password := turn.Mint("s", "anna", begin.Add(time.Hour))
			if got.Username != name || got.Password != password || got.TTL != 3600 || len(got.URIs) != 1 || got.URIs[0] != "turn:relay.example:3478" {
				t.Errorf("got %+v, want %s %s", got, name, password)
			}
		})
	}
	if n := s.Stats().Minted; n != 3 {
		t.Errorf("counted %d", n)
	}
}

func TestRefuses(t *testing.T) {
	s := start(t, usual())
	for _, c := range []struct {
		name, method, query, body, bearer string
		code                              int
	}{
		{"no token", "GET", "?username=anna", "", "", 401},
		{"a wrong token", "GET", "", "", "0123456789abcdef-tokem", 401},
		{"the beginning of a token", "GET", "", "", token[:10], 401},
		{"another service", "GET", "?service=sip", "", token, 400},
		{"a name too long", "GET", "?username=" + strings.Repeat("x", 257), "", token, 400},
		{"a name that is none", "GET", "?username=a%0Ab", "", token, 400},
		{"a form too large", "POST", "", "username=" + strings.Repeat("x", 5000), token, 400},
		{"another method", "DELETE", "", "", token, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, text := ask(t, s, c.method, c.query, c.body, c.bearer); code != c.code {
				t.Errorf("%d %s, want %d", code, text, c.code)
			}
		})
	}
	if s.Stats().Minted != 0 {
		t.Error("something was minted")
	}
}

// Who guesses is told no more than ten times a minute, and takes nothing from who knows.
func TestLimits(t *testing.T) {
	s := start(t, usual())
	codes := map[int]int{}
	for n := range 30 {
		code, _ := ask(t, s, "GET", "", "", fmt.Sprint("guess-number-", n))
		codes[code]++
	}
	if codes[401] != guesses || codes[429] != 30-guesses {
		t.Errorf("guesses: %v", codes)
	}
	codes = map[int]int{}
	for range 60 {
		code, _ := ask(t, s, "GET", "", "", token)
		codes[code]++
	}
	if codes[200] != 50 || codes[429] != 10 { // 5 × 10
		t.Errorf("requests: %v", codes)
	}
	if got := s.Stats().Refused; got["guessing"] != 20 || got["rate"] != 10 {
		t.Errorf("counted %v", got)
	}
}

func TestSetReplaces(t *testing.T) {
	s := start(t, usual())
	c := usual()
	c.Tokens, c.Secret = []string{"a-newer-token-of-16"}, "new"
	if err := s.Set(c); err != nil {
		t.Fatal(err)
	}
	if code, _ := ask(t, s, "GET", "", "", token); code != 401 {
		t.Errorf("the old token: %d", code)
	}
	if code, text := ask(t, s, "GET", "?username=u", "", c.Tokens[0]); code != 200 || !bytes.Contains(text, []byte(second(turn.Mint("new", "u", begin.Add(time.Hour))))) {
		t.Errorf("the new one: %d %s", code, text)
	}
	c.URIs = nil
	if err := s.Set(c); err == nil {
		t.Error("a wrong configuration was taken")
	}
}

func second(_, b string) string { return b }

// TestWrong: what would be unsafe does not start.
func TestWrong(t *testing.T) {
	for _, c := range []struct {
		name, addr, says string
		change           func(*Config)
	}{
		{"plain text beyond loopback", "0.0.0.0:0", "not loopback", func(*Config) {}},
		{"nobody may ask", "127.0.0.1:0", "who may ask", func(c *Config) { c.Tokens = nil }},
		{"a token that can be guessed", "127.0.0.1:0", "guessed", func(c *Config) { c.Tokens = []string{"short"} }},
		{"no secret", "127.0.0.1:0", "no secret", func(c *Config) { c.Secret = "" }},
		{"an authority without tls", "127.0.0.1:0", "take TLS", func(c *Config) { c.ClientCA = "ca.pem" }},
		{"no uri", "127.0.0.1:0", "no URI", func(c *Config) { c.URIs = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := usual()
			c.change(&config)
			s, err := Listen(c.addr, config)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// authority is a CA with files of what it certified.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.certify("ca", true)
	return a
}

func (a *authority) certify(name string, isCA bool) (*x509.Certificate, ed25519.PrivateKey) {
	a.t.Helper()
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: isCA, BasicConstraintsValid: isCA,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, _ := x509.ParseCertificate(der)
	return cert, key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// Over TLS a certificate of the authority counts, alone or with a token.
func TestClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	ca.certify("server", false)
	ca.certify("app", false)
	stranger.certify("app", false)
	for _, c := range []struct {
		name   string
		tokens []string
		cert   *authority
		bearer string
		code   int // 0: no connection
	}{
		{"certificate", nil, ca, "", 200},
		{"no certificate", nil, nil, "", 0},
		{"a stranger's", nil, stranger, "", 0},
		{"certificate and token", []string{token}, ca, token, 200},
		{"certificate without the token", []string{token}, ca, "", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := usual()
			config.Tokens, config.ClientCA = c.tokens, ca.path("ca.crt")
			config.CertFile, config.KeyFile = ca.path("server.crt"), ca.path("server.key")
			s := start(t, config)
			roots := x509.NewCertPool()
			roots.AddCert(ca.cert)
			client := &stdtls.Config{RootCAs: roots}
			if c.cert != nil {
				pair, err := stdtls.LoadX509KeyPair(c.cert.path("app.crt"), c.cert.path("app.key"))
				if err != nil {
					t.Fatal(err)
				}
				client.GetClientCertificate = func(*stdtls.CertificateRequestInfo) (*stdtls.Certificate, error) { return &pair, nil }
			}
			transport := &http.Transport{TLSClientConfig: client}
			defer transport.CloseIdleConnections()
			r, _ := http.NewRequest("GET", "https://"+s.Addr().String()+"/?username=anna", nil)
			if c.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+c.bearer)
			}
			answer, err := (&http.Client{Transport: transport}).Do(r)
			if c.code == 0 {
				if err == nil {
					t.Errorf("%d, want no connection", answer.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != c.code {
				t.Errorf("%d, want %d", answer.StatusCode, c.code)
			}
		})
	}
}
