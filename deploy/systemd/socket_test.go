package systemd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// ask sends a Binding request.
func ask(t *testing.T, c net.Conn) {
	t.Helper()
	b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
	if _, err := c.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// answered reads the answer to it.
func answered(t *testing.T, what string, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1500)
	n, err := c.Read(b)
	if err != nil {
		t.Errorf("%s: no answer over %s: %v", what, c.LocalAddr().Network(), err)
		return
	}
	if m, err := stun.Parse(b[:n]); err != nil || m.Type().Class != stun.ClassSuccess {
		t.Errorf("%s: the answer is %x, %v", what, b[:n], err)
	}
}

// listening are the kernel's sockets at port 3478 of IPv4, by transport: how many.
func listening(t *testing.T) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, transport := range []string{"udp", "tcp"} {
		table, err := os.ReadFile("/proc/net/" + transport)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			field := strings.Fields(line) // number, local, remote, state
			if len(field) > 3 && strings.HasSuffix(field[1], ":0D96") && (transport == "udp" || field[3] == "0A") {
				count[transport]++
			}
		}
	}
	return count
}

// socketActivation: the sockets are there without turnd, the first client starts it, and a restart, a stop and a start leave them
// open, each socket once.
func socketActivation(t *testing.T) {
	cores := runtime.NumCPU() // a line for each
	write(t, "/etc/systemd/system/turnd.socket.d/loopback.conf", []byte("[Socket]\nListenDatagram=\nListenStream=\nListenStream=127.0.0.1:3478\n"+
		strings.Repeat("ListenDatagram=127.0.0.1:3478\n", cores)), 0o644)
	systemctl(t, "daemon-reload")
	systemctl(t, "start", "turnd.socket")
	if got := property(t, "turnd", "ActiveState"); got != "inactive" {
		t.Fatalf("turnd is %s before anybody came", got)
	}
	if got := listening(t); got["udp"] != cores || got["tcp"] != 1 {
		t.Errorf("listening are %v", got)
	}
	for _, network := range []string{"udp", "tcp"} { // either starts it
		c, err := net.Dial(network, "127.0.0.1:3478")
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c)
		answered(t, "the first client", c)
		c.Close()
		await(t, "it is up", func() bool { return property(t, "turnd", "ActiveState") == "active" })
		if network == "udp" {
			systemctl(t, "stop", "turnd")
			if got := listening(t); got["udp"] != cores || got["tcp"] != 1 {
				t.Errorf("after the stop listening are %v", got)
			}
		}
	}
	before := listening(t)
	for range 2 {
		systemctl(t, "restart", "turnd")
		binding(t)
	}
	if after := listening(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("listening were %v, after two restarts %v", before, after)
	}
	restarts(t) // with clients that come while nothing runs
	relayed(t)
	systemctl(t, "stop", "turnd.socket", "turnd")
	if got := listening(t); len(got) > 0 {
		t.Errorf("left are %v", got)
	}
	if err := os.RemoveAll("/etc/systemd/system/turnd.socket.d"); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "daemon-reload")
}

// restartUnderSession: a client with a session asks on while turnd is restarted. Nothing is refused; it makes an allocation anew
// and relays again.
func restartUnderSession(t *testing.T) {
	relayed(t)
	held, err := allocate(t)
	if err != nil {
		t.Fatal(err)
	}
	systemctl(t, "restart", "turnd")
	select {
	case <-held.Done():
	case <-time.After(10 * time.Second):
		t.Error("the session's client does not learn that it has ended")
	}
	relayed(t)
	if got := property(t, "turnd", "NRestarts"); got != "0" && got != "1" { // 1 is the watchdog's
		t.Errorf("%s restarts", got)
	}
}

// nodeReloads: new secrets and rules come into a node that runs, and a wrong configuration fails the reload and changes nothing.
func nodeReloads(t *testing.T) {
	t.Helper()
	pid := property(t, "traverse", "MainPID")
	right, err := os.ReadFile("/etc/traverse/traverse.toml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "/etc/traverse/users", []byte("u:changed\n"), 0o600)
	write(t, "/etc/traverse/relay-password", []byte("changed\n"), 0o600)
	write(t, "/etc/traverse/traverse.toml", append([]byte("[log]\nlevel = \"debug\"\n"), strings.Replace(string(right), "schema = 1\n", "", 1)...), 0o644)
	systemctl(t, "reload", "traverse", "turnd")
	if log := logged(t, "traverse"); !strings.Contains(log, `"msg":"reloaded","applied":"log.level relay.password"`) {
		t.Errorf("the journal has no word of the reload:\n%s", log)
	}
	if _, err := allocateAs(t, "u", "p"); err == nil {
		t.Error("the old password is good for turnd still")
	}
	write(t, "/etc/traverse/traverse.toml", []byte("schema = 1\n[acept]\ndefault = \"deny\"\n"), 0o644)
	if out, err := exec.Command("systemctl", "reload", "traverse").CombinedOutput(); err == nil {
		t.Errorf("a wrong configuration: %s", out)
	}
	if log := journal(t, "traverse"); !strings.Contains(log, `did you mean`) {
		t.Errorf("the journal does not say what is wrong:\n%s", log)
	}
	write(t, "/etc/traverse/traverse.toml", right, 0o644)
	write(t, "/etc/traverse/users", []byte("u:p\n"), 0o600)
	write(t, "/etc/traverse/relay-password", []byte("p\n"), 0o600)
	systemctl(t, "reload", "traverse", "turnd")
	if state := property(t, "traverse", "ActiveState"); state != "active" || property(t, "traverse", "MainPID") != pid {
		t.Errorf("after the reloads it is %s", state)
	}
	files, err := os.ReadDir("/run/traverse")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains([]string{"node.sock", "relay-password", "users"}, f.Name()) {
			t.Errorf("/run/traverse has %s", f.Name())
		}
	}
}
