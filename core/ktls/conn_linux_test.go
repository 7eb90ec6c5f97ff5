package ktls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	stdtls "crypto/tls"

	"golang.org/x/sys/unix"
)

func needKernel(t testing.TB) {
	t.Helper()
	if !Available() {
		t.Skip("no kernel TLS here; internal/uml runs this in a kernel that has it")
	}
}

func selfSigned(t testing.TB) stdtls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// oneRecordAtATime reads a byte at a time, so that crypto/tls cannot have read ahead.
type oneRecordAtATime struct{ *net.TCPConn }

func (c oneRecordAtATime) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:1]) }

// halfInKernel is a connection whose server's end is in the kernel and whose client's is crypto/tls's.
func halfInKernel(t *testing.T) (client *stdtls.Conn, clientTCP *net.TCPConn, server *Conn) {
	t.Helper()
	needKernel(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	clientTCP, tcp := dialled.(*net.TCPConn), accepted.(*net.TCPConn)
	t.Cleanup(func() { clientTCP.Close(); tcp.Close() })
	for _, c := range []net.Conn{clientTCP, tcp} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	client = stdtls.Client(clientTCP, &stdtls.Config{InsecureSkipVerify: true, MinVersion: stdtls.VersionTLS13})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	var secrets Secrets
	handshake := stdtls.Server(oneRecordAtATime{tcp}, &stdtls.Config{
		Certificates: []stdtls.Certificate{selfSigned(t)}, MinVersion: stdtls.VersionTLS13, SessionTicketsDisabled: true, KeyLogWriter: &secrets,
	})
	if err := errors.Join(handshake.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	if handshake.ConnectionState().CipherSuite != stdtls.TLS_AES_128_GCM_SHA256 {
		t.Skip("crypto/tls prefers another suite on this machine")
	}
	server, err = Attach(tcp, &secrets, true, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return client, clientTCP, server
}

func TestBothDirections(t *testing.T) {
	client, _, server := halfInKernel(t)
	buf := make([]byte, 64)
	for _, text := range []string{"first", "second"} {
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if n, err := server.Read(buf); string(buf[:n]) != text || err != nil {
			t.Fatalf("server read %q, %v", buf[:n], err)
		}
		if _, err := server.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if n, err := client.Read(buf); string(buf[:n]) != text || err != nil {
			t.Fatalf("client read %q, %v", buf[:n], err)
		}
	}
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(buf); err != io.EOF {
		t.Errorf("client: %v, want io.EOF", err)
	}
}

// The peer's last words.
func TestAlerts(t *testing.T) {
	t.Run("close_notify", func(t *testing.T) {
		client, _, server := halfInKernel(t)
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := server.Read(make([]byte, 9)); err != io.EOF {
				t.Errorf("%v, want io.EOF", err)
			}
		}
	})
	t.Run("cut off", func(t *testing.T) {
		_, tcp, server := halfInKernel(t)
		tcp.Close()
		if _, err := server.Read(make([]byte, 9)); err != io.ErrUnexpectedEOF {
			t.Errorf("%v, want io.ErrUnexpectedEOF", err)
		}
	})
	t.Run("fatal", func(t *testing.T) {
		client, _, server := halfInKernel(t)
		_ = server.raw.Control(func(fd uintptr) {
			_ = sendAlert(fd, levelFatal, 80)
		})
		_, err := client.Read(make([]byte, 9))
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "remote error" {
			t.Errorf("client: %v, want the alert", err)
		}
	})
	t.Run("bad record", func(t *testing.T) {
		client, tcp, server := halfInKernel(t)
		before := ReadStats().Bad
		if _, err := tcp.Write([]byte{23, 3, 3, 0, 17, 16: 0, 21: 0}); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(make([]byte, 9)); !errors.Is(err, ErrRecord) {
			t.Errorf("%v, want ErrRecord", err)
		}
		if ReadStats().Bad != before+1 {
			t.Error("not counted")
		}
		_, err := client.Read(make([]byte, 9))
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "remote error" {
			t.Errorf("client: %v, want to be told", err)
		}
	})
}

// A handshake message behind the handshake, such as a key update, ends the connection. An end in the kernel can send one
// as a record of that type.
func TestHandshakeMessageEnds(t *testing.T) {
	a, b := bothInKernel(t)
	_ = a.raw.Control(func(fd uintptr) {
		var control [32]byte
		fillRecordType(&control, 22)
		_, _ = unix.SendmsgN(int(fd), []byte{24, 0, 0, 1, 0}, control[:unix.CmsgSpace(1)], nil, unix.MSG_DONTWAIT)
	})
	if _, err := b.Read(make([]byte, 9)); !errors.Is(err, ErrHandshake) {
		t.Errorf("%v, want ErrHandshake", err)
	}
	var alert AlertError
	if _, err := a.Read(make([]byte, 9)); !errors.As(err, &alert) || alert != unexpectedMessage {
		t.Errorf("%v, want alert %d", err, unexpectedMessage)
	}
}

// bothInKernel is a connection with keys of the test's at both ends.
func bothInKernel(t *testing.T) (a, b *Conn) {
	t.Helper()
	needKernel(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]*Conn{}
	for i, c := range []net.Conn{dialled, accepted} {
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		s := &Secrets{client: make([]byte, secretLen), server: make([]byte, secretLen)}
		s.server[0] = 1
		if ends[i], err = Attach(c.(*net.TCPConn), s, i == 1, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

// A deadline that passes does no harm, and Close ends a Read.
func TestDeadlineAndClose(t *testing.T) {
	a, b := bothInKernel(t)
	if err := b.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want a timeout", err)
	}
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("%d, %v, want the byte", n, err)
	}
	ended := make(chan error)
	go func() {
		_, err := b.Read(make([]byte, 9))
		ended <- err
	}()
	b.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

// Reads of data cost no memory.
func TestReadDoesNotAllocate(t *testing.T) {
	a, b := bothInKernel(t)
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := a.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
