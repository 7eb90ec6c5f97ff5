package turnclient_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// startCoturn runs coturn on loopback for the length of the test and returns its port.
func startCoturn(t *testing.T) uint16 {
	t.Helper()
	path, err := exec.LookPath("turnserver")
	if err != nil {
		t.Skip("coturn's turnserver is not installed: nothing was tested against it")
	}
	port := freePort(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-n", "--no-cli", "--cli-password", "x", "--no-tls", "--no-dtls", "--no-udp", "--no-rfc5780",
		"-L", "127.0.0.1", "-L", "::1", "-E", "127.0.0.1", "-E", "::1", "-p", strconv.Itoa(int(port)),
		"--allow-loopback-peers", "--lt-cred-mech", "-u", "u:p", "-r", "r",
		"--userdb", filepath.Join(dir, "turndb"), "--pidfile", filepath.Join(dir, "pid"), "--log-file", "stdout")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics cleans nothing up
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-exited
		if t.Failed() {
			t.Logf("coturn said:\n%s", log.Bytes())
		}
	})
	// It listens after 3 to 4 s.
	tick, deadline := time.NewTicker(50*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if listens(port, "127.0.0.1") && listens(port, "::1") {
				return port
			}
		case <-exited:
			t.Fatal("coturn ended")
		case <-deadline:
			t.Fatal("coturn did not begin to listen")
		}
	}
}

func listens(port uint16, host string) bool {
	conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func TestCoturn(t *testing.T) {
	port := startCoturn(t)
	relayBothWays(t,
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.AddrPortFrom(netip.IPv6Loopback(), port))
}
