package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/turnclient"
	"traverse.internal/daemon"
)

const settings = `schema = 1
[node]
name = "inside"
[dht]
mode = "private"
listen = "127.0.0.1:17001"
[[relay]]
url = "turn:u@127.0.0.1:3478?transport=tcp"
password_file = "/run/traverse/relay-password"
[turnd]
listen_tcp = [%s]
listen_udp = ["127.0.0.1:3478"]
relay_ip4 = "127.0.0.1"
allow_peer = ["127.0.0.0/8"]
`

// TestInside is what happens in the container of TestBooted.
func TestInside(t *testing.T) {
	if os.Getenv("TRAVERSE_INSIDE") == "" {
		t.Skip("runs in the container of TestBooted")
	}
	for _, unit := range units(t) {
		write(t, "/etc/systemd/system/"+unit, asTheyAre(t)(filepath.Join("/units", unit)), 0o644)
	}
	systemctl(t, "daemon-reload")
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a server that cannot start says why and is not tried again", cannotStart},
		{"no users, no relay", noUsers},
		{"turnd serves", turndServes},
		{"a reload reads users again, and fails with a wrong configuration", reloads},
		{"a restart keeps the listeners", restarts},
		{"a drain ends with the last session", drains},
		{"a port below 1024", lowPort},
		{"a server that hangs is ended and started anew", watchdog},
		{"a session over a restart", restartUnderSession},
		{"turnd stops", turndStops},
		{"the sockets are the service manager's", socketActivation},
		{"the node", node},
		{"what goes wrong with turnd", turndGoesWrong},
		{"a crash", crashes},
		{"killed in a reload", killedInReload},
		{"what goes wrong with the node", nodeGoesWrong},
	} {
		t.Run(step.name, step.run)
	}
}

func cannotStart(t *testing.T) {
	// There is no configuration, and a container without a network has no address to relay from.
	if out, err := exec.Command("systemctl", "start", "turnd").CombinedOutput(); err == nil {
		t.Errorf("started: %s", out)
	}
	for name, want := range map[string]string{"ActiveState": "failed", "ExecMainStatus": "3", "NRestarts": "0"} {
		if got := property(t, "turnd", name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if log := journal(t, "turnd"); !strings.Contains(log, "try:   name it: --relay-ip4") {
		t.Errorf("the journal does not say what to do:\n%s", log)
	}
	systemctl(t, "reset-failed", "turnd")
}

func noUsers(t *testing.T) {
	write(t, "/etc/traverse/traverse.toml", fmt.Appendf(nil, settings, `"127.0.0.1:3478"`), 0o644)
	systemctl(t, "start", "turnd")
	if log := journal(t, "turnd"); !strings.Contains(log, "there are no users") {
		t.Errorf("the journal does not warn:\n%s", log)
	}
	if _, err := allocate(t); err == nil {
		t.Error("an allocation for a user that nobody made")
	}
}

func turndServes(t *testing.T) {
	write(t, "/etc/traverse/users", []byte("u:p\n"), 0o600)
	write(t, "/etc/systemd/system/turnd.service.d/metrics.conf", []byte("[Service]\nEnvironment=TRAVERSE_METRICS_LISTEN=127.0.0.1:9641\n"+
		"Environment=TRAVERSE_TURND_DRAIN_GRACE=1s\n"), 0o644)
	systemctl(t, "daemon-reload")
	systemctl(t, "restart", "turnd")
	binding(t)
	if got := property(t, "turnd", "StatusText"); !strings.Contains(got, "allocations") {
		t.Errorf("StatusText is %q", got)
	}
	relayed(t)
	wants := []string{ // the sandbox lets the kernel splice, and the metrics read /proc
		`turnd_relay_bytes_total{dir="up",family="4",mode="splice"} 5`, "process_start_time_seconds ", "process_max_fds ",
	}
	var missing []string
	for deadline := time.Now().Add(5 * time.Second); ; <-time.After(50 * time.Millisecond) { // bytes are counted once they have moved
		page := metricsPage(t)
		missing = slices.DeleteFunc(slices.Clone(wants), func(want string) bool { return strings.Contains(page, want) })
		if len(missing) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(missing) > 0 {
		t.Errorf("the metrics have no %q", missing)
	}
	for line := range strings.Lines(logged(t, "turnd")) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" || entry.Level == "" {
			t.Errorf("the journal has %q, want a structured line", line)
		}
	}
}

func lowPort(t *testing.T) {
	write(t, "/etc/traverse/traverse.toml", fmt.Appendf(nil, settings, `"127.0.0.1:3478", "127.0.0.1:443"`), 0o644)
	if out, err := exec.Command("systemctl", "restart", "turnd").CombinedOutput(); err == nil {
		t.Errorf("a low port without the right to it: %s", out)
	}
	if log := journal(t, "turnd"); !strings.Contains(log, "a port above 1023") {
		t.Errorf("the journal does not say what to do:\n%s", log)
	}
	write(t, "/etc/systemd/system/turnd.service.d/low-port.conf", asTheyAre(t)("/units/low-port.conf"), 0o644)
	systemctl(t, "daemon-reload")
	systemctl(t, "start", "turnd")
	c, err := net.Dial("tcp", "127.0.0.1:443")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	binding(t)
}

func watchdog(t *testing.T) {
	write(t, "/etc/systemd/system/turnd.service.d/watchdog.conf", []byte("[Service]\nWatchdogSec=1s\nTimeoutAbortSec=2s\nRestartSec=0\n"), 0o644)
	systemctl(t, "daemon-reload")
	systemctl(t, "restart", "turnd")
	var first int
	if _, err := fmt.Sscan(property(t, "turnd", "MainPID"), &first); err != nil || first < 2 {
		t.Fatalf("MainPID %d, %v", first, err)
	}
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "another process", func() bool {
		return property(t, "turnd", "ActiveState") == "active" && property(t, "turnd", "MainPID") != fmt.Sprint(first)
	})
	if got := property(t, "turnd", "NRestarts"); got != "1" {
		t.Errorf("%s restarts, want 1", got)
	}
	if log := journal(t, "turnd"); !strings.Contains(log, "Watchdog timeout") || !strings.Contains(log, "SIGABRT") {
		t.Errorf("the journal has no stacks of the process that hung:\n%s", log)
	}
	binding(t)
}

func turndStops(t *testing.T) {
	systemctl(t, "stop", "turnd")
	for name, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"} {
		if got := property(t, "turnd", name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func node(t *testing.T) {
	write(t, "/etc/traverse/relay-password", []byte("p\n"), 0o600)
	systemctl(t, "start", "turnd", "traverse")
	client := daemon.NewClient("/run/traverse/node.sock")
	before, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.Device.Name != "inside" || before.DHT.Mode != "private" || len(before.Relays) != 1 {
		t.Errorf("the configuration was not read: %+v", before)
	}
	if out, err := exec.Command("traverse", "--home", "/var/lib/traverse", "--socket", "/run/traverse/node.sock", "status").CombinedOutput(); err != nil {
		t.Errorf("status: %v, %s", err, out)
	}
	info, err := os.Stat("/var/lib/traverse/identity/device.pem")
	if err != nil {
		t.Fatal(err)
	}
	if mode, owner := info.Mode().Perm(), info.Sys().(*syscall.Stat_t).Uid; mode != 0o600 || owner == 0 {
		t.Errorf("the key has mode %#o and is of %d", mode, owner)
	}
	if _, err := os.Stat("/var/lib/traverse/traverse.toml"); err == nil {
		t.Error("there is a second configuration, which nobody reads")
	}
	if got := property(t, "traverse", "StatusText"); !strings.HasPrefix(got, "inside: 0 of 0 contacts") {
		t.Errorf("StatusText is %q", got)
	}
	systemctl(t, "restart", "traverse")
	after, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Device.Device != before.Device.Device {
		t.Error("a restart made another identity")
	}
	nodeReloads(t)
	for line := range strings.Lines(logged(t, "traverse")) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the journal has %q, want JSON", line)
		}
	}
	systemctl(t, "stop", "traverse", "turnd")
	if got := property(t, "traverse", "Result"); got != "success" {
		t.Errorf("Result is %s", got)
	}
	// A relay without its password is a mistake to be told about.
	if err := os.Remove("/etc/traverse/relay-password"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemctl", "start", "traverse").CombinedOutput(); err == nil {
		t.Errorf("started without the relay's password: %s", out)
	}
	if got := property(t, "traverse", "ExecMainStatus"); got != "3" {
		t.Errorf("exit code %s, want 3", got)
	}
}

// binding asks the server over UDP for our own address.
func binding(t *testing.T) {
	t.Helper()
	c, err := net.Dial("udp", "127.0.0.1:3478")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
	if _, err := c.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stun.Parse(buf[:n]); err != nil || m.Type().Class != stun.ClassSuccess {
		t.Errorf("the answer is %x, %v", buf[:n], err)
	}
}

func allocate(t *testing.T) (*turnclient.Allocation, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := turnclient.Dial(ctx, turnclient.Config{Server: netip.MustParseAddrPort("127.0.0.1:3478"), Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.Allocate(ctx, turnclient.IPv4)
}

// relayed sends five bytes through a TCP allocation.
func relayed(t *testing.T) {
	t.Helper()
	a, err := allocate(t)
	if err != nil {
		t.Fatal(err)
	}
	echoed(t, a)
}

// echoed sends five bytes to a peer over an allocation.
func echoed(t *testing.T, a *turnclient.Allocation) {
	t.Helper()
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	near, err := a.Connect(ctx, netip.MustParseAddrPort(peer.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := peer.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := near.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func write(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, mode)); err != nil {
		t.Fatal(err)
	}
}

func systemctl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
		t.Fatalf("systemctl %s: %v, %s\n%s", strings.Join(args, " "), err, out, journal(t, args[len(args)-1]))
	}
}

func property(t *testing.T, unit, name string) string {
	t.Helper()
	out, err := exec.Command("systemctl", "show", "--value", "--property="+name, unit).Output()
	if err != nil {
		t.Fatalf("systemctl show %s: %v", unit, err)
	}
	return strings.TrimSpace(string(out))
}

// journal is all that concerns a unit since the boot, the service manager's own lines too.
func journal(t *testing.T, unit string) string {
	t.Helper()
	_ = exec.Command("journalctl", "--sync").Run() // else lines of a moment ago may be missing
	out, err := exec.Command("journalctl", "--no-pager", "--output=cat", "--unit="+unit).CombinedOutput()
	if err != nil {
		t.Errorf("journalctl: %v, %s", err, out)
	}
	return string(out)
}

// logged is what the unit's running process wrote.
func logged(t *testing.T, unit string) string {
	t.Helper()
	pid := property(t, unit, "MainPID")
	if !regexp.MustCompile(`^[1-9]\d*$`).MatchString(pid) {
		t.Fatalf("%s has the process %q", unit, pid)
	}
	_ = exec.Command("journalctl", "--sync").Run()
	out, err := exec.Command("journalctl", "--no-pager", "--output=cat", "_PID="+pid).CombinedOutput()
	if err != nil || len(out) == 0 {
		t.Errorf("journalctl: %v, %s", err, out)
	}
	return string(out)
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !there() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func metricsPage(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://127.0.0.1:9641/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
