package systemd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/turnclient"
)

// What happens in the container of TestBooted while turnd runs.

// allocateAs makes an allocation of a user.
func allocateAs(t *testing.T, user, password string) (*turnclient.Allocation, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := turnclient.Dial(ctx, turnclient.Config{Server: netip.MustParseAddrPort("127.0.0.1:3478"), Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.Allocate(ctx, turnclient.IPv4)
}

func reloads(t *testing.T) {
	pid := property(t, "turnd", "MainPID")
	if _, err := allocateAs(t, "late", "x"); err == nil {
		t.Fatal("there is a user before it was made")
	}
	write(t, "/etc/traverse/users", []byte("u:p\nlate:x\n"), 0o600)
	systemctl(t, "reload", "turnd")
	if _, err := allocateAs(t, "late", "x"); err != nil {
		t.Errorf("the new user: %v", err)
	}
	if log := logged(t, "turnd"); !strings.Contains(log, `"msg":"reloaded","users":2`) {
		t.Errorf("the journal has no word of it:\n%s", log)
	}
	right, err := os.ReadFile("/etc/traverse/traverse.toml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "/etc/traverse/traverse.toml", []byte("[turnd]\nrelm = 1\n"), 0o644)
	if out, err := exec.Command("systemctl", "reload", "turnd").CombinedOutput(); err == nil {
		t.Errorf("a wrong configuration: %s", out)
	}
	write(t, "/etc/traverse/traverse.toml", right, 0o644)
	if state := property(t, "turnd", "ActiveState"); state != "active" || property(t, "turnd", "MainPID") != pid {
		t.Errorf("after a failed reload it is %s", state)
	}
	info, err := os.Stat("/run/turnd/users")
	if err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("the copy: %v, %v", info, err)
	}
}

// restarts holds the start back until a client has sent, over UDP and over TCP.
func restarts(t *testing.T) {
	const hold = "/run/hold"
	write(t, "/etc/systemd/system/turnd.service.d/hold.conf", []byte("[Service]\nExecStartPre=+/bin/sh -c 'while [ -e "+hold+" ]; do sleep 0.05; done'\n"), 0o644)
	systemctl(t, "daemon-reload")
	write(t, hold, nil, 0o644)
	systemctl(t, "--no-block", "restart", "turnd")
	await(t, "nothing runs", func() bool { return property(t, "turnd", "SubState") == "start-pre" })
	var clients []net.Conn
	for _, network := range []string{"udp", "udp", "udp", "udp", "tcp"} {
		c, err := net.Dial(network, "127.0.0.1:3478")
		if err != nil {
			t.Fatalf("nobody listens over %s: %v", network, err)
		}
		defer c.Close()
		b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
		if _, err := c.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 1500)
		n, err := c.Read(b)
		if err != nil {
			t.Errorf("no answer over %s: %v", c.LocalAddr().Network(), err)
			continue
		}
		if m, err := stun.Parse(b[:n]); err != nil || m.Type().Class != stun.ClassSuccess {
			t.Errorf("the answer is %x, %v", b[:n], err)
		}
	}
	await(t, "it is up", func() bool { return property(t, "turnd", "ActiveState") == "active" })
	if n := property(t, "turnd", "NFileDescriptorStore"); (n == "0") != (property(t, "turnd.socket", "ActiveState") == "active") {
		t.Errorf("%s sockets are stored", n)
	}
	if err := os.Remove("/etc/systemd/system/turnd.service.d/hold.conf"); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "daemon-reload")
}

func drains(t *testing.T) {
	held, err := allocate(t)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("turnd", "drain", "--grace", "1m", "--admin-socket", "/run/turnd/admin.sock").CombinedOutput(); err != nil {
		t.Fatalf("drain: %v, %s", err, out)
	}
	if _, err := allocate(t); err == nil {
		t.Error("a new allocation while it drains")
	}
	if state := property(t, "turnd", "ActiveState"); state != "active" {
		t.Errorf("with a session it is %s", state)
	}
	held.Close()
	await(t, "it has ended", func() bool { return property(t, "turnd", "ActiveState") == "inactive" })
	if got := fmt.Sprint(property(t, "turnd", "Result"), property(t, "turnd", "ExecMainStatus")); got != "success0" {
		t.Errorf("it ended with %s", got)
	}
	systemctl(t, "start", "turnd")
	binding(t)
}
