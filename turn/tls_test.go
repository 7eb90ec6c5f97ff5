package turn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// writeCertificate makes a self-signed certificate with a serial number.
func writeCertificate(t testing.TB, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(serial)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func startTLS(t *testing.T, dir string, change func(*Config)) *Server {
	return startServer(t, func(c *Config) {
		c.ListenTLS = []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
		c.CertFile, c.KeyFile = writeCertificate(t, dir, 1)
		if change != nil {
			change(c)
		}
	})
}

func dialTLS(t *testing.T, s *Server) *testClient {
	t.Helper()
	conn, err := stdtls.Dial("tcp", s.TLSAddrs()[0].String(), &stdtls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"stun.turn"}, // the tests of package probe verify
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if got := conn.ConnectionState().NegotiatedProtocol; got != "stun.turn" {
		t.Errorf("protocol %q, want stun.turn", got)
	}
	return &testClient{t: t, conn: conn, stream: true, user: "u", pass: "p"}
}

func TestTLSRelaysBothWays(t *testing.T) {
	s := startTLS(t, t.TempDir(), nil)
	peer := newPeer(t, loop4)
	c := dialTLS(t, s)
	relayed := c.allocate()
	if code := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
		t.Fatal(code)
	}
	large := make([]byte, 40_000) // several records
	for i := range large {
		large[i] = byte(i)
	}
	c.send(channelData(0x4000, large))
	if got, _ := peer.receive(); string(got) != string(large) {
		t.Errorf("the peer got %d bytes that differ", len(got))
	}
	peer.send(relayed, large)
	if _, got, err := stun.ParseChannelData(c.frame()); err != nil || string(got) != string(large) {
		t.Errorf("the client got %d bytes that differ, %v", len(got), err)
	}
	if got := s.Sessions()[0].Transport; got != "tls" {
		t.Errorf("transport %q, want tls", got)
	}
	c.conn.Close()
	waitFor(t, "the allocation to end with its connection", func() bool { return count(s) == 0 })
}

// Who shakes hands slowly, or not at all, is closed like any stranger.
func TestTLSSilenceIsClosed(t *testing.T) {
	s := startTLS(t, t.TempDir(), func(c *Config) { c.FirstMessage = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", s.TLSAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("got %v, want an end", err)
	}
	waitFor(t, "the connection to be forgotten", func() bool { return s.Stats().Streams == 0 })
}

// Changed files are used by the next connection, and those that are there stay; broken files change nothing.
func TestCertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	s := startTLS(t, dir, nil)
	serial := func() int64 {
		c := dialTLS(t, s)
		defer c.conn.Close()
		return c.conn.(*stdtls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	old := dialTLS(t, s)
	old.allocate()
	if got := serial(); got != 1 {
		t.Fatalf("serial %d, want 1", got)
	}
	_, keyFile := writeCertificate(t, dir, 2)
	waitFor(t, "the new certificate", func() bool { return serial() == 2 })
	if err := os.WriteFile(keyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(s.config); err == nil {
		t.Error("a broken key is accepted")
	}
	if got := serial(); got != 2 || s.Stats().CertFailures == 0 {
		t.Errorf("serial %d, want 2; %d failures counted", got, s.Stats().CertFailures)
	}
	writeCertificate(t, dir, 3)
	if _, err := s.Reload(s.config); err != nil || serial() != 3 {
		t.Errorf("after a reload: serial %d, %v, want 3", serial(), err)
	}
	if code := old.code(stun.MethodRefresh); code != 0 {
		t.Errorf("the connection from before: %v", code)
	}
}

// Whatever waits for a client, a message is a record of its own: coturn's client loses what stands behind the first of one.
func TestTLSMessagesAreRecords(t *testing.T) {
	s := startTLS(t, t.TempDir(), nil)
	c := dialTLS(t, s)
	c.allocate()
	var sizes []int
	for size := 4; size <= 4+8000; size += 428 {
		sizes = append(sizes, size)
	}
	st := onlyStream(s)
	queueFor(st, sizes)
	s.tasks.Go(st.writeLoop)
	buf := make([]byte, 1<<16)
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for _, want := range sizes {
		n, err := c.conn.Read(buf) // a record at a time
		if err != nil || n != want {
			t.Fatalf("a record of %d bytes, %v; want %d", n, err, want)
		}
	}
}

// onlyStream is that of the only client.
func onlyStream(s *Server) *stream {
	s.streamsMu.Lock()
	defer s.streamsMu.Unlock()
	for st := range s.streams {
		return st
	}
	return nil
}

// queueFor lets frames of so many bytes wait for a client. The caller starts writeLoop.
func queueFor(st *stream, sizes []int) {
	st.out.mu.Lock()
	for st.out.writing {
		st.out.idle.Wait()
	}
	st.out.writing = true
	st.out.mu.Unlock()
	for _, size := range sizes {
		st.sendData(channelData(0x4000, make([]byte, size-4)))
	}
}

// A backlog of 200 full packets, as a busy client has it.
func BenchmarkTLSBacklog(b *testing.B) {
	s := startServer(b, func(c *Config) {
		c.ListenTLS = []netip.AddrPort{netip.AddrPortFrom(loop4, 0)}
		c.CertFile, c.KeyFile = writeCertificate(b, b.TempDir(), 1)
	})
	conn, err := stdtls.Dial("tcp", s.TLSAddrs()[0].String(), &stdtls.Config{InsecureSkipVerify: true})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	c := &testClient{t: b, conn: conn, stream: true, user: "u", pass: "p"}
	c.allocate()
	st, frames := onlyStream(s), make([]byte, 0, 200*1204)
	for range 200 {
		frames = append(frames, channelData(0x4000, make([]byte, 1200))...)
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	b.SetBytes(int64(len(frames)))
	for b.Loop() {
		if err := st.writeBacklog(frames); err != nil {
			b.Fatal(err)
		}
	}
}
