package ice

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// startCoturn runs Debian's coturn on loopback for the test and returns its address. It skips if there is none that works.
func startCoturn(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("turnserver")
	if err != nil {
		t.Skip("needs turnserver (Debian package coturn)")
	}
	needIPv6(t)
	for range 3 {
		// Below the ports that the kernel gives out; another program may have it all the same.
		port := strconv.Itoa(20000 + rand.IntN(10000))
		cmd := exec.Command(program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech", "--user", "u:p", "--realm", "r",
			"--listening-ip", "127.0.0.1", "--listening-ip", "::1", "--relay-ip", "127.0.0.1", "--relay-ip", "::1",
			"--listening-port", port, "--allow-loopback-peers", "--pidfile", t.TempDir()+"/pid", "--userdb", t.TempDir()+"/db",
			"--log-file", "stdout", "--no-stdout-log", "--simple-log")
		if err := cmd.Start(); err != nil {
			t.Skipf("coturn does not start: %v", err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		if server := "127.0.0.1:" + port; lends(t, server) {
			return server
		}
	}
	t.Skip("coturn runs and does not answer")
	return ""
}

// lends waits until a relay has made an allocation: coturn listens before it answers, seconds before on a loaded machine.
func lends(t *testing.T, server string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		l, err := allocateTURN(try, Relay{Server: server, Username: "u", Password: "p"}, false)
		cancel()
		if err == nil {
			l.Close()
			return true
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return false
		}
	}
}

// TestCoturn runs the relayed paths through a TURN server that is not ours.
func TestCoturn(t *testing.T) { relayedPaths(t, startCoturn(t)) }
