package dtlsserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"traverse.internal/internal/loopback"
)

// The clients of OpenSSL, with its sides of the choices, small datagrams and lost ones, and of GnuTLS. Those of OpenSSL 3.0 and
// GnuTLS 3.7 were what this was first tried with.
func TestOtherPeoplesClients(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain, long := ecdsaConfig(t), certificate(t, rsaKey, 2500)
	lose := func(which ...int) func(int) bool {
		return func(n int) bool {
			for _, w := range which {
				if n == w {
					return true
				}
			}
			return false
		}
	}
	for _, c := range []struct {
		name   string
		server *Config
		gnu    bool
		args   []string
		drop   func(int) bool
		fails  bool
	}{
		{name: "OpenSSL", server: plain},
		{name: "OpenSSL, AES-256", server: plain, args: []string{"-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"}},
		{name: "OpenSSL, RSA, AES-256", server: long, args: []string{"-cipher", "ECDHE-RSA-AES256-GCM-SHA384"}},
		{name: "OpenSSL, P-256", server: plain, args: []string{"-curves", "P-256"}},
		{name: "OpenSSL, P-384", server: certificate(t, p384, 0), args: []string{"-curves", "P-384"}},
		{name: "OpenSSL, P-521", server: plain, args: []string{"-curves", "P-521"}, fails: true},
		{name: "OpenSSL, SHA-384", server: plain, args: []string{"-sigalgs", "ECDSA+SHA384"}},
		{name: "OpenSSL, RSA, PKCS #1", server: long, args: []string{"-sigalgs", "RSA+SHA512"}},
		{name: "OpenSSL, SHA-1", server: plain, args: []string{"-sigalgs", "ECDSA+SHA1", "-cipher", "DEFAULT@SECLEVEL=0"}, fails: true},
		{name: "OpenSSL, CBC", server: plain, args: []string{"-cipher", "ECDHE-ECDSA-AES128-SHA"}, fails: true},
		{name: "OpenSSL, ALPN", server: plain, args: []string{"-alpn", "stun.turn"}},
		{name: "OpenSSL, another ALPN", server: plain, args: []string{"-alpn", "h2"}, fails: true},
		{name: "OpenSSL, small datagrams", server: plain, args: []string{"-mtu", "256"}},
		{name: "OpenSSL, a certificate of three datagrams", server: long},
		{name: "OpenSSL, its second is lost", server: long, drop: lose(2)},
		{name: "OpenSSL, first and last are lost, and the last again", server: long, drop: lose(1, 3, 7)},
		{name: "GnuTLS", gnu: true, server: plain},
		{name: "GnuTLS, AES-256", gnu: true, server: plain, args: []string{"--priority", "NORMAL:-CIPHER-ALL:+AES-256-GCM"}},
		{name: "GnuTLS, P-384", gnu: true, server: plain, args: []string{"--priority", "NORMAL:-GROUP-ALL:+GROUP-SECP384R1"}},
		{name: "GnuTLS, no extended master secret", gnu: true, server: plain, args: []string{"--priority", "NORMAL:%NO_SESSION_HASH"}},
		{name: "GnuTLS, a certificate of three datagrams", gnu: true, server: long},
		{name: "GnuTLS, its second is lost", gnu: true, server: long, drop: lose(2)},
		{name: "GnuTLS, ALPN", gnu: true, server: plain, args: []string{"--alpn", "stun.turn"}},
		{name: "GnuTLS, CBC", gnu: true, server: plain, args: []string{"--priority", "NORMAL:-CIPHER-ALL:+AES-128-CBC"}, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait a second for what is lost
			s := serveEcho(t, c.server, c.drop)
			port := strconv.Itoa(s.conn.LocalAddr().(*net.UDPAddr).Port)
			name, args := "openssl", []string{"s_client", "-dtls1_2", "-quiet", "-connect", "127.0.0.1:" + port}
			if c.gnu {
				loopback.Need(t, "gnutls-bin", "gnutls-cli")
				name, args = "gnutls-cli", []string{"--udp", "--insecure", "--port", port, "127.0.0.1"}
			} else {
				loopback.Need(t, "openssl", "openssl")
			}
			cmd := exec.Command(name, append(args, c.args...)...)
			in, say := io.Pipe()
			defer say.Close()
			cmd.Stdin = in
			p := loopback.Start(t, cmd)
			select {
			case err := <-s.result:
				if (err != nil) != c.fails {
					t.Fatalf("the handshake: %v", err)
				}
				if c.fails {
					return
				}
			case <-p.Exited:
				t.Fatal("the client ended")
			case <-time.After(patience):
				t.Fatal("no handshake")
			}
			want := []byte("what is said is echoed\n")
			if _, err := say.Write(want); err != nil {
				t.Fatal(err)
			}
			tick, late := time.NewTicker(10*time.Millisecond), time.After(patience)
			defer tick.Stop()
			for !bytes.Contains(p.Output(), want) {
				select {
				case <-tick.C:
				case <-p.Exited:
					t.Fatal("the client ended")
				case <-late:
					t.Fatal("no echo")
				}
			}
		})
	}
}
