//go:build unix

package turn

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// idleEnv makes the test binary the client of TestIdleConnections: ADDRESS and how many.
const idleEnv = "TURN_TEST_IDLE"

// TestIdleClient is that client, in a process of its own: each side has its own descriptors.
func TestIdleClient(t *testing.T) {
	at := os.Getenv(idleEnv)
	if at == "" {
		t.Skip("it is the other process of TestIdleConnections")
	}
	n, _ := strconv.Atoi(os.Getenv(idleEnv + "_N"))
	conns := make([]net.Conn, 0, n)
	for i := range n {
		// 127.0.x.y, so that no single /24 has too many strangers and no address runs out of ports.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i%50), 1)}}
		conn, err := d.Dial("tcp", at)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, conn)
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other process is done
	for _, conn := range conns {
		conn.Close()
	}
}

// 10,000 connections that say nothing hold little memory and no worker, others are served meanwhile, and nothing of them
// stays.
func TestIdleConnections(t *testing.T) {
	const n = 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max < n+2000 {
		t.Skipf("at most %d descriptors, %v; it takes %d", limit.Max, err, n+2000)
	}
	s := startServer(t, func(c *Config) { c.MaxStreams, c.MaxStrangers, c.FirstMessage = 2*n, 4*n, patience*6 })
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	client := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestIdleClient$")
	client.Env = append(os.Environ(), idleEnv+"="+s.TCPAddrs()[0].String(), idleEnv+"_N="+strconv.Itoa(n))
	stop, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "connected\n" {
		t.Fatalf("the client said %q, %v", line, err)
	}
	waitFor(t, "all connections", func() bool { return s.Stats().Streams == n })
	each := (heap() - before) / n
	t.Logf("%d bytes a connection", each)
	if each > 20<<10 { // Config.MaxStrangers' arithmetic
		t.Errorf("%d bytes a connection, more than 20 KiB", each)
	}
	dialUDP(t, s).allocate()
	dialTCP(t, s).allocate()
	stop.Close()
	_ = client.Wait()
	waitFor(t, "the end of the connections", func() bool { return s.Stats().Streams <= 1 })
}
