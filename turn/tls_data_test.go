package turn

import (
	stdtls "crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/ktls"
	"traverse.internal/core/stun"
)

// dataOverTLS is a data connection over TLS and the peer's end of it; raw is what is below the client's TLS. early is sent in
// the same record as the ConnectionBind.
func dataOverTLS(t *testing.T, s *Server, early string) (client *stdtls.Conn, raw, peer *net.TCPConn) {
	t.Helper()
	c := dialTLS(t, s)
	c.allocate(wantTCP)
	l, addr := listenPeer(t, loop4)
	m := c.ask(stun.MethodConnect, peerAt(addr))
	id, err := m.Uint32(stun.AttrConnectionID)
	if err != nil {
		t.Fatalf("Connect: %v, %v", codeOf(t, m), err)
	}
	if peer, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	d := dialTLS(t, s)
	d.login()
	d.send(append(d.build(stun.MethodConnectionBind, connectionID(id)), early...))
	if got := codeOf(t, d.response()); got != 0 {
		t.Fatalf("ConnectionBind: %v", got)
	}
	client = d.conn.(*stdtls.Conn)
	for _, conn := range []net.Conn{client, peer} {
		_ = conn.SetDeadline(time.Now().Add(patience))
	}
	return client, client.NetConn().(*net.TCPConn), peer
}

// needMode checks who seals the records of the only data connection. Where internal/uml runs this it has to be the kernel.
func needMode(t *testing.T, s *Server) string {
	t.Helper()
	want := modeCopy
	if ktls.Available() {
		want = modeKernel
	} else if os.Getenv("TRAVERSE_UML") != "" {
		t.Error("this kernel has TLS, and it is not seen")
	}
	var got string
	waitFor(t, "the data connection", func() bool {
		for _, one := range s.Sessions() {
			for _, conn := range one.Connections {
				got = conn.Mode
			}
		}
		return got != ""
	})
	if got != want {
		t.Errorf("the session says %q, want %q", got, want)
	}
	return want
}

// Bytes are exact both ways with a half-close at the end of each, also what comes with the ConnectionBind; and it is counted, and
// said, whether the kernel or this program seals them.
func TestTLSDataConnectionIsByteExact(t *testing.T) {
	s := startTLS(t, t.TempDir(), nil)
	before := ktls.ReadStats()
	client, _, peer := dataOverTLS(t, s, "early")
	got := make([]byte, 5)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "early" {
		t.Fatalf("the peer got %q, %v", got, err)
	}
	mode := needMode(t, s)
	const n = 4 << 20
	exchangeBytes(t, client, peer, n)
	waitFor(t, "the pair to end", func() bool { return s.Stats().DataPairs == 0 })
	moved := map[string]uint64{}
	for _, r := range s.Stats().Relayed {
		moved[r.Mode] += r.Bytes
	}
	after := ktls.ReadStats()
	if mode == modeKernel {
		if after.Kernel != before.Kernel+1 || moved["splice"] < 2*n-64<<10 {
			t.Errorf("%d connections went to the kernel, %v bytes", after.Kernel-before.Kernel, moved)
		}
	} else if after.User["kernel"] != before.User["kernel"]+1 || moved["splice"] != 0 {
		t.Errorf("%d connections are said to have stayed, %v bytes", after.User["kernel"]-before.User["kernel"], moved)
	}
	if moved["splice"]+moved["copy"] != 2*n+5 {
		t.Errorf("counted %v bytes, want %d", moved, 2*n+5)
	}
}

// The client's close_notify is the end of its direction only.
func TestTLSDataConnectionHalfClose(t *testing.T) {
	s := startTLS(t, t.TempDir(), nil)
	client, _, peer := dataOverTLS(t, s, "")
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); string(got) != "question" || err != nil {
		t.Fatalf("the peer read %q, %v", got, err)
	}
	answer := strings.Repeat("answer", 100_000)
	go func() {
		_, _ = io.WriteString(peer, answer)
		_ = peer.CloseWrite()
	}()
	if got, err := io.ReadAll(client); string(got) != answer || err != nil {
		t.Errorf("the client read %d bytes of %d, %v", len(got), len(answer), err)
	}
}

// A TLS client that vanishes in the middle of a record: its stream does not look finished to the peer, what came whole is there,
// and nothing of it stays.
func TestTLSClientVanishesInARecord(t *testing.T) {
	s := startTLS(t, t.TempDir(), nil)
	client, raw, peer := dataOverTLS(t, s, "")
	if _, err := client.Write([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "whole" {
		t.Fatalf("the peer got %q, %v", got, err)
	}
	if _, err := raw.Write([]byte{23, 3, 3, 0x40, 0, 1, 2, 3}); err != nil { // 16 KiB, it says
		t.Fatal(err)
	}
	if err := raw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v, want a reset", err)
	}
	waitFor(t, "the pair to end", func() bool { return s.Stats().DataPairs == 0 })
}

// A record that fails authentication ends the connection, for both.
func TestTLSDataConnectionForgedRecord(t *testing.T) {
	s := startTLS(t, t.TempDir(), nil)
	_, raw, peer := dataOverTLS(t, s, "")
	if _, err := raw.Write(append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v, want a reset", err)
	}
	waitFor(t, "the pair to end", func() bool { return s.Stats().DataPairs == 0 })
}
