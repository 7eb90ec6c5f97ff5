package turn

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	stdtls "crypto/tls"

	"golang.org/x/sys/unix"

	"traverse.internal/core/ktls"
	"traverse.internal/core/stun"
)

// Records that are no data, on a connection in the kernel: a key update, which it cannot follow, and an alert. Both end it, after
// what came before them, and the client of the key update is told.
func TestTLSDataConnectionOtherRecords(t *testing.T) {
	if !ktls.Available() {
		t.Skip("no kernel TLS here; internal/uml runs this in a kernel that has it")
	}
	for _, c := range []struct {
		name  string
		kind  byte
		bytes []byte
	}{
		{"key update", 22, []byte{24, 0, 0, 1, 0}},
		{"alert", 21, []byte{2, 80}},
		{"alert behind nothing", 21, []byte{1, 90}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startTLS(t, t.TempDir(), nil)
			client, peer := kernelClient(t, s)
			if _, err := client.Write([]byte("before")); err != nil {
				t.Fatal(err)
			}
			sendRecord(t, client.TCP(), c.kind, c.bytes)
			got, err := io.ReadAll(peer)
			if string(got) != "before" || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer read %q, %v, want a reset behind it", got, err)
			}
			if _, err := client.Read(make([]byte, 1)); err == nil {
				t.Error("the client still reads")
			}
			waitFor(t, "the pair to end", func() bool { return s.Stats().DataPairs == 0 })
		})
	}
}

// kernelClient is a data connection whose client's end is in the kernel, too: there a record of any type can be sent.
func kernelClient(t *testing.T, s *Server) (*ktls.Conn, *net.TCPConn) {
	t.Helper()
	c := dialTLS(t, s)
	c.allocate(wantTCP)
	l, addr := listenPeer(t, loop4)
	m := c.ask(stun.MethodConnect, peerAt(addr))
	id, err := m.Uint32(stun.AttrConnectionID)
	if err != nil {
		t.Fatalf("Connect: %v, %v", codeOf(t, m), err)
	}
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	tcp := dialPeer(t, netip.MustParseAddrPort(s.TLSAddrs()[0].String()))
	var secrets ktls.Secrets
	secured := stdtls.Client(byteReader{tcp}, &stdtls.Config{InsecureSkipVerify: true, MinVersion: stdtls.VersionTLS13, KeyLogWriter: &secrets})
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	if secured.ConnectionState().CipherSuite != stdtls.TLS_AES_128_GCM_SHA256 {
		t.Skip("crypto/tls prefers another suite on this machine")
	}
	kernel, err := ktls.Attach(tcp, &secrets, false, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &testClient{t: t, conn: kernelNetConn{kernel, tcp}, stream: true, user: "u", pass: "p"}
	d.login()
	if got := d.code(stun.MethodConnectionBind, connectionID(id)); got != 0 {
		t.Fatalf("ConnectionBind: %v", got)
	}
	if mode := needMode(t, s); mode != modeKernel {
		t.Fatalf("mode %q", mode)
	}
	_ = tcp.SetDeadline(time.Now().Add(patience))
	_ = peer.SetDeadline(time.Now().Add(patience))
	return kernel, peer
}

// byteReader reads a byte at a time, so that nothing is read ahead.
type byteReader struct{ *net.TCPConn }

func (c byteReader) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:1]) }

// kernelNetConn is a ktls.Conn with the addresses and deadlines of its socket.
type kernelNetConn struct {
	sealed *ktls.Conn
	*net.TCPConn
}

func (c kernelNetConn) Read(p []byte) (int, error) { return c.sealed.Read(p) }

// sendRecord sends a record of a type.
func sendRecord(t *testing.T, tcp *net.TCPConn, kind byte, content []byte) {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(1))
	head := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	head.Level, head.Type = 282, 1 // SOL_TLS, TLS_SET_RECORD_TYPE
	head.SetLen(unix.CmsgLen(1))
	control[unix.CmsgLen(0)] = kind
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sent error
	err = raw.Control(func(fd uintptr) { _, sent = unix.SendmsgN(int(fd), content, control, nil, 0) })
	if err := errors.Join(err, sent); err != nil {
		t.Fatal(err)
	}
}
