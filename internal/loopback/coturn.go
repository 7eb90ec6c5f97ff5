package loopback

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Coturn is how Debian's coturn is to run. It listens over UDP and TCP, permits loopback as a peer, and knows user u with
// password p.
type Coturn struct {
	IPs   []netip.Addr // to listen on and to relay from; default: those of loopback
	Users []string     // NAME:PASSWORD, besides u:p
	Realm string       // default: r
	Args  []string     // that are added
}

// Start runs coturn until the test ends and returns its port, once it listens at every address, which takes it 3 to 4 s. It
// skips where coturn is missing.
func (c Coturn) Start(t testing.TB) uint16 {
	t.Helper()
	Need(t, "coturn", "turnserver")
	if len(c.IPs) == 0 {
		c.IPs = []netip.Addr{IP4}
		if HaveIPv6() {
			c.IPs = append(c.IPs, IP6)
		}
	}
	if c.Realm == "" {
		c.Realm = "r"
	}
	port, dir := FreePort(t, c.IPs...), t.TempDir()
	args := []string{
		"-n", "--no-cli", "--cli-password", "x", "--no-tls", "--no-dtls", "--no-rfc5780",
		"-p", strconv.Itoa(int(port)), "--allow-loopback-peers", "--lt-cred-mech", "-r", c.Realm,
		"--userdb", filepath.Join(dir, "turndb"), "--pidfile", filepath.Join(dir, "pid"), "--log-file", "stdout",
	}
	for _, ip := range c.IPs {
		args = append(args, "-L", ip.String(), "-E", ip.String())
	}
	for _, user := range append([]string{"u:p"}, c.Users...) {
		args = append(args, "-u", user)
	}
	p := Start(t, exec.Command("turnserver", append(args, c.Args...)...))
	tick, deadline := time.NewTicker(50*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.listens(port) {
				return port
			}
		case <-p.Exited:
			t.Fatal("coturn ended")
		case <-deadline:
			t.Fatal("coturn did not begin to listen")
		}
	}
}

func (c Coturn) listens(port uint16) bool {
	for _, ip := range c.IPs {
		conn, err := net.Dial("tcp", netip.AddrPortFrom(ip, port).String())
		if err != nil {
			return false
		}
		_ = conn.Close()
	}
	return true
}
