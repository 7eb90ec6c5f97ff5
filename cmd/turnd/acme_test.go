package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An authority is pebble, which validates as Let's Encrypt does, with a DNS server of its own whose every name is
// this machine.
type authority struct {
	directory, trust  string // URL, and the file with the certificate of its own HTTPS
	roots             string // file with the root of what it issues
	httpPort, tlsPort string // where it looks
}

// startAuthority runs it until the test ends.
func startAuthority(t *testing.T) *authority {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: -short; builds pebble")
	}
	dir := t.TempDir()
	for _, program := range []string{"pebble", "pebble-challtestsrv"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-modfile=../../tools/go.mod", "-o", dir, "github.com/letsencrypt/pebble/v2/cmd/"+program)
		if out, err := build.CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: pebble cannot be built here: %v: %s", err, out)
		}
	}
	ports := freePorts(t, 6)
	a := &authority{httpPort: ports[0], tlsPort: ports[1], trust: filepath.Join(dir, "trust.pem"), roots: filepath.Join(dir, "roots.pem")}
	api, management, dns, control := "127.0.0.1:"+ports[2], "127.0.0.1:"+ports[3], "127.0.0.1:"+ports[4], "127.0.0.1:"+ports[5]
	selfSigned(t, a.trust, filepath.Join(dir, "key.pem"))
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": api, "managementListenAddress": management, "certificate": a.trust, "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": number(t, a.httpPort), "tlsPort": number(t, a.tlsPort), "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "90 days", "validityPeriod": 90 * 24 * 3600}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pebble.json"), conf, 0o600); err != nil {
		t.Fatal(err)
	}
	runBeside(t, nil, filepath.Join(dir, "pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns,
		"-management", control, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	runBeside(t, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"}, filepath.Join(dir, "pebble"), "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", dns)

	a.directory = "https://" + api + "/dir"
	var root []byte
	awaitOther(t, "the authority to answer", func() bool {
		root = fetch(t, a.trust, "https://"+management+"/roots/0")
		return len(root) > 0 && len(fetch(t, a.trust, a.directory)) > 0
	})
	if err := os.WriteFile(a.roots, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestACME: the server gets a certificate by itself, each way the authority can look, shows it to clients that name the
// server and to those that do not, and finds it again when it is started anew.
func TestACME(t *testing.T) {
	a := startAuthority(t)
	for _, way := range []struct {
		name   string
		listen string
		args   []string
	}{
		{"tls-alpn-01", "127.0.0.1:" + a.tlsPort, nil},
		{"http-01", "127.0.0.1:0", []string{"--acme-http", "127.0.0.1:" + a.httpPort}},
	} {
		t.Run(way.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "acme")
			users := filepath.Join(t.TempDir(), "users")
			if err := os.WriteFile(users, []byte("u:p\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{
				"run", "--json", "--home", t.TempDir(), "--listen-tls", way.listen, "--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0",
				"--relay-ip4", "127.0.0.1", "--allow-peer", "127.0.0.0/8", "--users-file", users,
				"--acme-domains", "turn.example.org", "--acme-agreed", "--acme-directory", a.directory, "--acme-ca", a.trust, "--acme-folder", folder,
			}, way.args...)
			serial := func() string {
				at, stop := serveTLS(t, args)
				defer stop()
				var named, unnamed string
				awaitOther(t, "a certificate of the authority", func() bool {
					named, unnamed = certificateOf(a.roots, at, "turn.example.org"), certificateOf(a.roots, at, "")
					return named != "" && unnamed == named
				})
				return named
			}
			first := serial()
			if again := serial(); again != first {
				t.Errorf("started anew it asked for another certificate: %s, %s", first, again)
			}
			if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder of keys: %v, %v", info.Mode(), err)
			}
		})
	}
}

// serveTLS runs the program and returns where it listens over TLS.
func serveTLS(t *testing.T, args []string) (at string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, args, nil, in, t.Output())
		in.Close()
	}()
	var ready readiness
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		cancel()
		t.Fatalf("it did not start: %v, exit code %d", err, <-ended)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return ready.TLS[0].String(), func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// certificateOf is the serial number of the certificate that a client is shown, "" where there is none of the
// authority's for turn.example.org.
func certificateOf(roots, at, name string) string {
	pool := x509.NewCertPool()
	text, err := os.ReadFile(roots)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		return ""
	}
	conn, err := tls.Dial("tcp", at, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"stun.turn"}}) // verified below, for the same name always
	if err != nil {
		return ""
	}
	defer conn.Close()
	state := conn.ConnectionState()
	chain := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		chain.AddCert(c)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "turn.example.org", Roots: pool, Intermediates: chain}); err != nil {
		return ""
	}
	return leaf.SerialNumber.String()
}

// TestACMEMistakes are found before anything listens.
func TestACMEMistakes(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--acme-domains", "turn.example.org", "--listen-tls", "127.0.0.1:0"}, "agreed"},
		{[]string{"--acme-domains", "turn.example.org", "--acme-agreed"}, "listen_tls"},
		{[]string{"--acme-domains", "192.0.2.1", "--acme-agreed", "--listen-tls", "127.0.0.1:0"}, "address"},
		{[]string{"--acme-domains", "turn.example.org", "--acme-agreed", "--listen-tls", "127.0.0.1:0", "--cert", "x", "--key", "y"}, "one of the two"},
		{[]string{"--acme-domains", "turn.example.org", "--acme-agreed", "--listen-tls", "127.0.0.1:0", "--relay-ip4", "127.0.0.1"}, "acme-folder"},
		{[]string{"--acme-domains", "turn.example.org", "--acme-agreed", "--listen-dtls", "127.0.0.1:0"}, "no way to look"},
	} {
		var errOut strings.Builder
		code := run(t.Context(), append([]string{"run", "--home", t.TempDir()}, test.args...), nil, io.Discard, &errOut)
		if code != 3 || !strings.Contains(errOut.String(), test.want) {
			t.Errorf("%q: exit code %d, want 3 and a word of %q:\n%s", test.args, code, test.want, errOut.String())
		}
	}
}

func selfSigned(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// freePorts are ports that nobody has now. Those who take them are other programs, which cannot say what they got.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // after all are found, so that no two are the same
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

func number(t *testing.T, port string) int {
	t.Helper()
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// runBeside runs a program until the test ends; what it said is logged if the test has failed.
func runBeside(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), said.String())
		}
	})
}

func fetch(t *testing.T, trust, url string) []byte {
	t.Helper()
	text, err := os.ReadFile(trust)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// awaitOther waits for a condition that other programs bring about.
func awaitOther(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
