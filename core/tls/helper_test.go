package tls

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/ktls"
	"traverse.internal/identity"
)

// testTimeout bounds what would otherwise hang; nothing here waits for it.
const testTimeout = 20 * time.Second

func newDevice(t testing.TB) *identity.Device {
	t.Helper()
	device, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// tcpPair returns the two ends of a TCP connection over loopback.
func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	for _, conn := range []net.Conn{c, s} { // a test that hangs should fail with a line number
		_ = conn.SetDeadline(time.Now().Add(testTimeout))
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// A pair is two linked devices over TCP, with the raw writes and reads of both ends counted.
type pair struct {
	client, server             *Link
	clientDevice, serverDevice *identity.Device
	clientRaw, serverRaw       *countingConn
}

// newPair is a pair in the kernel where there is kernel TLS. Nothing is counted then.
func newPair(t testing.TB) *pair {
	t.Helper()
	return pairOf(t, ktls.Available(), ktls.Available())
}

// newUserPair is a pair whose records are crypto/tls's.
func newUserPair(t testing.TB) *pair {
	t.Helper()
	return pairOf(t, false, false)
}

func pairOf(t testing.TB, clientInKernel, serverInKernel bool) *pair {
	t.Helper()
	c, s := tcpPair(t)
	p := &pair{
		clientDevice: newDevice(t), serverDevice: newDevice(t),
		clientRaw: &countingConn{TCPConn: c}, serverRaw: &countingConn{TCPConn: s},
	}
	var clientRaw, serverRaw net.Conn = p.clientRaw, p.serverRaw
	if clientInKernel {
		clientRaw = c // bare
	}
	if serverInKernel {
		serverRaw = s
	}
	ctx := testContext(t)
	var clientErr, serverErr error
	var wg sync.WaitGroup
	wg.Go(func() { p.client, clientErr = AsClient(ctx, clientRaw, nil, p.clientDevice, p.serverDevice.ID()) })
	wg.Go(func() { p.server, serverErr = AsServer(ctx, serverRaw, nil, p.serverDevice, p.clientDevice.ID()) })
	wg.Wait()
	if clientErr != nil || serverErr != nil {
		t.Fatalf("handshake: client %v, server %v", clientErr, serverErr)
	}
	if p.client.InKernel() != clientInKernel || p.server.InKernel() != serverInKernel {
		t.Fatalf("in the kernel: client %v, server %v, want %v, %v", p.client.InKernel(), p.server.InKernel(), clientInKernel, serverInKernel)
	}
	t.Cleanup(func() { p.client.Close(); p.server.Close() })
	return p
}

// A countingConn counts the calls and bytes that reach the raw stream.
type countingConn struct {
	*net.TCPConn

	mu                               sync.Mutex // guards the fields below
	reads, writes                    int
	readBytes, writtenBytes, biggest int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	c.readBytes += n
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	c.writtenBytes += n
	c.biggest = max(c.biggest, len(p))
	return n, err
}

func (c *countingConn) counts() (reads, writes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads, c.writes
}
