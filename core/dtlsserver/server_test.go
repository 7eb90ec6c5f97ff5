package dtlsserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	piondtls "github.com/pion/dtls/v2"
)

const patience = 10 * time.Second // of a test, for what must come

// certificate makes one of a key.
func certificate(t testing.TB, key crypto.Signer, padding int) *Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{CommonName: "relay.test"}, DNSNames: []string{"relay.test"},
	}
	if padding > 0 {
		template.Subject.Organization = []string{string(bytes.Repeat([]byte("x"), padding))}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &Config{Chain: [][]byte{der}, Key: key, Protocols: []string{"stun.turn", "stun.nat-discovery"}}
}

func ecdsaConfig(t testing.TB) *Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certificate(t, key, 0)
}

// echoServer serves one client on loopback, and echoes. drop says which of its datagrams are lost, counted from 0.
type echoServer struct {
	config  *Config
	conn    *net.UDPConn
	drop    func(int) bool
	sent    int
	result  chan error // of the handshake
	session *Session   // after result
	hellos  int        // that were not proven
}

func serveEcho(t testing.TB, config *Config, drop func(int) bool) *echoServer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &echoServer{config: config, conn: conn, drop: drop, result: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.loop()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

func (s *echoServer) send(b []byte, to netip.AddrPort) {
	s.sent++
	if s.drop == nil || !s.drop(s.sent-1) {
		_, _ = s.conn.WriteToUDPAddrPort(b, to)
	}
}

func (s *echoServer) loop() {
	gate := NewGate()
	var h *Handshake
	buf := make([]byte, 65536)
	var client netip.AddrPort
	for {
		if h != nil && s.session == nil { // our timer
			_ = s.conn.SetReadDeadline(time.Now().Add(time.Second))
		} else {
			_ = s.conn.SetReadDeadline(time.Time{})
		}
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			for _, d := range h.Flight() {
				s.send(d, client)
			}
			continue
		}
		if err != nil {
			return
		}
		b := buf[:n]
		client = from
		switch {
		case s.session != nil:
			for len(b) > 0 {
				var kind Kind
				var content []byte
				kind, content, b = s.session.Next(b)
				switch kind {
				case Data:
					s.send(s.session.Seal(nil, content), from)
				case Repeat:
					s.send(s.session.Final(nil), from)
				}
			}
		case h == nil:
			verdict, answer := gate.Check(time.Now(), from, b, nil)
			switch verdict {
			case NoCookie:
				s.hellos++
				s.send(answer, from)
			case Proven:
				if h, err = Begin(s.config, b); err != nil {
					s.send(Alert(err), from)
					s.result <- err
					return
				}
				for _, d := range h.Flight() {
					s.send(d, from)
				}
			}
		default:
			session, answer, again, err := h.Take(b)
			if err != nil {
				s.result <- err
				return
			}
			if again {
				for _, d := range h.Flight() {
					s.send(d, from)
				}
			}
			if session != nil {
				s.session = session
				s.send(answer, from)
				s.result <- nil
			}
		}
	}
}

func dial(t testing.TB, s *echoServer, c *piondtls.Config) (*piondtls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.InsecureSkipVerify = true
	c.FlightInterval = 50 * time.Millisecond
	conn, err := piondtls.DialWithContext(ctx, "udp4", s.conn.LocalAddr().(*net.UDPAddr), c)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func echo(t testing.TB, conn net.Conn, size int) {
	t.Helper()
	want := bytes.Repeat([]byte("r"), size)
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(want); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8192)
	n, err := conn.Read(got)
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Fatalf("got %d bytes, %v; want %d", n, err, size)
	}
}

// An independent client, with every kind of certificate and each cipher suite.
func TestHandshake(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	suites := func(ids ...piondtls.CipherSuiteID) piondtls.Config { return piondtls.Config{CipherSuites: ids} }
	for _, c := range []struct {
		name   string
		server *Config
		client piondtls.Config
	}{
		{"ECDSA", ecdsaConfig(t), piondtls.Config{}},
		{"ECDSA, AES-256", ecdsaConfig(t), suites(piondtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)},
		{"ECDSA, P-384", certificate(t, p384, 0), piondtls.Config{}},
		{"RSA", certificate(t, rsaKey, 0), piondtls.Config{}},
		{"RSA, AES-256", certificate(t, rsaKey, 0), suites(piondtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)},
		{"Ed25519", certificate(t, edKey, 0), piondtls.Config{}},
		{"a certificate of three datagrams", certificate(t, rsaKey, 2500), piondtls.Config{}},
		{"no extended master secret", ecdsaConfig(t), piondtls.Config{ExtendedMasterSecret: piondtls.DisableExtendedMasterSecret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveEcho(t, c.server, nil)
			conn, err := dial(t, s, &c.client)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-s.result; err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1, 20, 1200, 8000} {
				echo(t, conn, size)
			}
			if s.hellos != 1 {
				t.Errorf("%d ClientHellos were answered before one was proven, want 1", s.hellos)
			}
		})
	}
}

func TestProtocol(t *testing.T) {
	for _, c := range []struct {
		offers []string
		want   string
		err    error
	}{
		{nil, "", nil},
		{[]string{"stun.nat-discovery", "stun.turn"}, "stun.turn", nil},
		{[]string{"other", "stun.nat-discovery"}, "stun.nat-discovery", nil},
		{[]string{"other"}, "", errNoProtocol},
	} {
		s := serveEcho(t, ecdsaConfig(t), nil)
		_, err := dial(t, s, &piondtls.Config{SupportedProtocols: c.offers})
		if (err != nil) != (c.err != nil) {
			t.Errorf("%q: dialled: %v", c.offers, err)
		}
		if err := <-s.result; !errors.Is(err, c.err) {
			t.Errorf("%q: got %v, want %v", c.offers, err, c.err)
		} else if err == nil && s.session.Protocol != c.want {
			t.Errorf("%q: chose %q, want %q", c.offers, s.session.Protocol, c.want)
		}
	}
}

// Each of our datagrams is lost once; the client's timer brings it again.
func TestLoss(t *testing.T) {
	for lost := range 3 { // HelloVerifyRequest, our flight, our last flight
		s := serveEcho(t, ecdsaConfig(t), func(n int) bool { return n == lost })
		conn, err := dial(t, s, &piondtls.Config{})
		if err != nil {
			t.Fatalf("datagram %d lost: %v", lost, err)
		}
		echo(t, conn, 100)
	}
}

func TestNothingInCommon(t *testing.T) {
	s := serveEcho(t, ecdsaConfig(t), nil)
	_, err := dial(t, s, &piondtls.Config{CipherSuites: []piondtls.CipherSuiteID{piondtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM}})
	if err == nil {
		t.Error("a session without a common cipher suite")
	}
	if err := <-s.result; !errors.Is(err, errNoSuite) {
		t.Errorf("got %v", err)
	}
}
