package tls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	stdtls "crypto/tls"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

func TestHandshakeBetweenDevices(t *testing.T) {
	p := newPair(t)
	if got, want := p.client.Peer(), p.serverDevice.ID(); got != want {
		t.Errorf("client's Peer() = %v, want %v", got, want)
	}
	if got, want := p.server.Peer(), p.clientDevice.ID(); got != want {
		t.Errorf("server's Peer() = %v, want %v", got, want)
	}
	state := p.client.conn.ConnectionState()
	if state.Version != stdtls.VersionTLS13 || state.NegotiatedProtocol != ALPN || state.CurveID != stdtls.X25519MLKEM768 {
		t.Errorf("version %x, protocol %q, group %v; want TLS 1.3, %q, X25519MLKEM768",
			state.Version, state.NegotiatedProtocol, state.CurveID, ALPN)
	}
}

func TestExporterIsSharedByTheTwoEndsOnly(t *testing.T) {
	p, other := newPair(t), newPair(t)
	export := func(l *Link, label string) []byte {
		key, err := l.Exporter(label)
		if err != nil || len(key) != 32 {
			t.Fatalf("Exporter(%q) = %x, %v, want 32 bytes", label, key, err)
		}
		return key
	}
	want := export(p.client, "traverse resume")
	if got := export(p.server, "traverse resume"); !bytes.Equal(got, want) {
		t.Errorf("server exports %x, client %x", got, want)
	}
	if got := export(p.client, "another label"); bytes.Equal(got, want) {
		t.Error("two labels give one key")
	}
	if got := export(other.client, "traverse resume"); bytes.Equal(got, want) {
		t.Error("two links give one key")
	}
}

// Whoever told TLS from STUN on the socket has read some of it.
func TestHeadIsPutBack(t *testing.T) {
	for _, head := range []int{1, 4, 5, 6, 200, 4096} {
		client, server := newDevice(t), newDevice(t)
		c, s := tcpPair(t)
		ctx := testContext(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			link, err := AsClient(ctx, c, nil, client, server.ID())
			if err != nil {
				t.Errorf("client: %v", err)
				return
			}
			if _, err := link.Write([]byte("hello")); err != nil {
				t.Error(err)
			}
		})
		buf := make([]byte, head)
		n, err := s.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		link, err := AsServer(ctx, s, buf[:n], server, client.ID())
		if err != nil {
			t.Fatalf("server with %d bytes of head: %v", n, err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(link, got); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v behind %d bytes of head", got, err, n)
		}
		wg.Wait()
	}
}

// The handshake takes nothing off the socket that is not its own: the client's first frame, in one packet with its
// Finished, is still in the kernel when the server's handshake is over.
func TestHandshakeDoesNotOverRead(t *testing.T) {
	client, server := newDevice(t), newDevice(t)
	c, s := tcpPair(t)
	joined := &joiningConn{TCPConn: c}
	counted := &countingConn{TCPConn: s}
	ctx := testContext(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		link, err := AsClient(ctx, joined, nil, client, server.ID())
		if err != nil {
			t.Errorf("client: %v", err)
			return
		}
		if _, err := link.Write([]byte("first frame")); err != nil {
			t.Error(err)
		}
	})
	link, err := AsServer(ctx, counted, nil, server, client.ID())
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	frame := len("first frame") + recordOverhead
	if got, want := counted.readBytes, joined.total-frame; got != want {
		t.Errorf("handshake read %d bytes, want %d of %d", got, want, joined.total)
	}
	got := make([]byte, 11)
	if _, err := io.ReadFull(link, got); string(got) != "first frame" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// A joiningConn sends its second and third write as one: the client's Finished, and what it writes first.
type joiningConn struct {
	*net.TCPConn
	writes, total int
	held          []byte
}

func (c *joiningConn) Write(p []byte) (int, error) {
	c.writes++
	c.total += len(p)
	if c.writes == 2 {
		c.held = bytes.Clone(p)
		return len(p), nil
	}
	if _, err := c.TCPConn.Write(append(c.held, p...)); err != nil {
		return 0, err
	}
	c.held = nil
	return len(p), nil
}

// foreign is a peer that is not ours: crypto/tls with a configuration of its own.
func foreign(t *testing.T, change func(*stdtls.Config)) *stdtls.Config {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	config := &stdtls.Config{
		Certificates:       []stdtls.Certificate{certificateFor(t, key.Public(), key)},
		NextProtos:         []string{ALPN},
		InsecureSkipVerify: true,
		ClientAuth:         stdtls.RequestClientCert,
	}
	change(config)
	return config
}

func certificateFor(t *testing.T, public, private any) stdtls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func withRSA(t *testing.T) func(*stdtls.Config) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *stdtls.Config) { c.Certificates = []stdtls.Certificate{certificateFor(t, key.Public(), key)} }
}

func withECDSA(t *testing.T) func(*stdtls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *stdtls.Config) { c.Certificates = []stdtls.Certificate{certificateFor(t, key.Public(), key)} }
}

// impostorOf shows the certificate of the device we call without having its key.
func impostorOf(t *testing.T, want *identity.Device) func(*stdtls.Config) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *stdtls.Config) {
		cert := want.Certificate()
		cert.PrivateKey = key
		c.Certificates = []stdtls.Certificate{cert}
	}
}

func TestForeignPeersAreRefused(t *testing.T) {
	called := newDevice(t)
	fault := func(f Fault) func(error) bool {
		return func(err error) bool {
			var e *HandshakeError
			return errors.As(err, &e) && e.Fault == f
		}
	}
	wrongKey := func(algorithm string) func(error) bool {
		return func(err error) bool {
			var e *PeerKeyError
			return errors.As(err, &e) && e.Want == called.ID() && e.Algorithm == algorithm &&
				e.Got.IsZero() == (algorithm != "Ed25519") && reason.Of(err) == reason.AuthWrongKey
		}
	}
	refused := func(err error) bool { return errors.As(err, new(*RefusedError)) }

	for _, c := range []struct {
		name               string
		config             func(*stdtls.Config)
		asServer, asClient func(error) bool // what we say when the peer is the client, is the server; nil: not tried
	}{
		{"another key", func(*stdtls.Config) {}, wrongKey("Ed25519"), wrongKey("Ed25519")},
		{"an RSA certificate", withRSA(t), wrongKey("RSA"), wrongKey("RSA")},
		{"an ECDSA certificate", withECDSA(t), wrongKey("ECDSA"), wrongKey("ECDSA")},
		{"our peer's certificate, not its key", impostorOf(t, called), fault(FaultOther), fault(FaultOther)},
		{"no certificate", func(c *stdtls.Config) { c.Certificates = nil }, fault(FaultNoCertificate), nil},
		{"TLS 1.2", func(c *stdtls.Config) { c.MaxVersion = stdtls.VersionTLS12 }, fault(FaultVersion), refused},
		{"another ALPN", func(c *stdtls.Config) { c.NextProtos = []string{"h2"} }, fault(FaultProtocol), refused},
		{"no ALPN", func(c *stdtls.Config) { c.NextProtos = nil }, fault(FaultProtocol), fault(FaultProtocol)},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours := newDevice(t)
			try := func(t *testing.T, link func(context.Context, net.Conn) (*Link, error), peer func(net.Conn) *stdtls.Conn, want func(error) bool) {
				a, b := tcpPair(t)
				ctx := testContext(t)
				var wg sync.WaitGroup
				wg.Go(func() {
					conn := peer(b)
					_ = conn.HandshakeContext(ctx)
					_, _ = conn.Read(make([]byte, 1))
					conn.Close()
				})
				_, err := link(ctx, a)
				wg.Wait()
				if err == nil || !want(err) {
					t.Errorf("error %T: %v", err, err)
				}
				if _, err := a.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the raw stream is still open: %v", err)
				}
			}
			config := foreign(t, c.config)
			t.Run("as server", func(t *testing.T) {
				try(t, func(ctx context.Context, raw net.Conn) (*Link, error) {
					return AsServer(ctx, raw, nil, ours, called.ID())
				}, func(raw net.Conn) *stdtls.Conn { return stdtls.Client(raw, config) }, c.asServer)
			})
			if c.asClient == nil {
				return
			}
			t.Run("as client", func(t *testing.T) {
				try(t, func(ctx context.Context, raw net.Conn) (*Link, error) {
					return AsClient(ctx, raw, nil, ours, called.ID())
				}, func(raw net.Conn) *stdtls.Conn { return stdtls.Server(raw, config) }, c.asClient)
			})
		})
	}
}

// The client is through before the server has seen its key. It must learn that it was the wrong one, not that the
// connection was reset, even when it was already sending.
func TestRefusedClientLearnsWhy(t *testing.T) {
	client, server, expected := newDevice(t), newDevice(t), newDevice(t)
	c, s := tcpPair(t)
	ctx := testContext(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := AsServer(ctx, s, nil, server, expected.ID())
		var key *PeerKeyError
		if !errors.As(err, &key) || key.Want != expected.ID() || key.Got != client.ID() {
			t.Errorf("server: %v, want a PeerKeyError", err)
		}
	})
	link, err := AsClient(ctx, c, nil, client, server.ID())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = link.Write(make([]byte, 10_000))
	_, err = link.Read(make([]byte, 1))
	link.Close()
	wg.Wait()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Alert != alertBadCertificate || reason.Of(err) != reason.AuthWrongKey {
		t.Fatalf("client reads %v, want the alert bad_certificate", err)
	}
	if want := "tls: peer refused: bad certificate"; err.Error() != want {
		t.Errorf("error reads %q, want %q", err, want)
	}
}

func TestGarbageAndSilence(t *testing.T) {
	device, peer := newDevice(t), newDevice(t)
	hello := clientHello(t, peer)
	for _, c := range []struct {
		name string
		send []byte
		want Fault
	}{
		{"nothing, then the end", nil, FaultStream},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), FaultNotTLS},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2\r\n"), FaultNotTLS},
		{"zeros", make([]byte, 1000), FaultNotTLS},
		{"a record that is too long", []byte{22, 3, 1, 0xff, 0xff, 1, 2, 3}, FaultNotTLS},
		{"half a hello, then the end", hello[:len(hello)/2], FaultStream},
		{"half a record header, then the end", hello[:3], FaultStream},
		{"a record of another type first", []byte{23, 3, 3, 0, 1, 0}, FaultNotTLS},
		{"a handshake message that is none", []byte{22, 3, 1, 0, 4, 99, 0, 0, 0}, FaultOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := tcpPair(t)
			if _, err := b.Write(c.send); err != nil {
				t.Fatal(err)
			}
			if err := b.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_, err := AsServer(testContext(t), a, nil, device, peer.ID())
			var got *HandshakeError
			if !errors.As(err, &got) || got.Fault != c.want {
				t.Fatalf("error %T %v, want fault %d", err, err, c.want)
			}
		})
	}
}

// clientHello returns the first record of a handshake.
func clientHello(t *testing.T, device *identity.Device) []byte {
	t.Helper()
	a, b := tcpPair(t)
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = AsClient(ctx, a, nil, device, device.ID()) })
	buf := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(b, buf, recordHeader)
	cancel()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// A peer that stops in the middle costs its context's time, and not more.
func TestHandshakeObeysItsContext(t *testing.T) {
	device, peer := newDevice(t), newDevice(t)
	for _, c := range []struct {
		name   string
		cancel bool
		want   Fault
		is     error
	}{
		{"deadline", false, FaultTimeout, os.ErrDeadlineExceeded},
		{"cancelled", true, FaultCancelled, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				defer b.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				go func() {
					_, _ = b.Write([]byte{22, 3, 1, 1, 0, 1, 2}) // the beginning of a hello of 256 bytes
					if c.cancel {
						cancel()
					}
				}()
				start := time.Now()
				_, err := AsServer(ctx, a, nil, device, peer.ID())
				var got *HandshakeError
				if !errors.As(err, &got) || got.Fault != c.want || !errors.Is(err, c.is) || got.Timeout() == c.cancel {
					t.Errorf("error %T %v, want fault %d", err, err, c.want)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				if _, err := a.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the raw stream is still open: %v", err)
				}
			})
		})
	}
}
