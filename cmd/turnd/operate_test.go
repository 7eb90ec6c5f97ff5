package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/turnclient"
)

// adminFlags are those of a server with an admin socket, and of the commands that talk to it.
func adminFlags(t *testing.T) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "turnd") // t.TempDir can be longer than a socket's name may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return []string{"--admin-socket", filepath.Join(dir, "s")}
}

// hold makes an allocation that stays until the test ends, and permits a peer.
func hold(t *testing.T, r *turnd, peer string) *turnclient.Allocation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := turnclient.Dial(ctx, turnclient.Config{Server: r.ready.TCP[0], Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Allocate(ctx, turnclient.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if err := a.Permit(ctx, mustAddr(peer)); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestReloadCommand(t *testing.T) {
	admin := adminFlags(t)
	users := usersFile(t, "u:p\n", 0o600)
	file := filepath.Join(t.TempDir(), "turnd.toml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := `[turnd]
realm = "bench.local"
listen_udp = ["127.0.0.1:0"]
listen_tcp = ["127.0.0.1:0"]
relay_ip4 = "127.0.0.1"
port_range = "40000-49000"
allow_peer = ["127.0.0.0/8"]
users_file = "` + users + `"
`
	write(file, conf)
	r := start(t, append([]string{"--config", file}, admin...)...)
	hold(t, r, "127.0.0.5")
	write(users, "u:p\nnew:x\n")
	write(file, strings.Replace(conf, `allow_peer`, "deny_peer = [\"127.0.0.5/32\"]\nallow_peer", 1))
	var out strings.Builder
	step := func(want int, args ...string) string {
		t.Helper()
		exit, stdout, stderr := command(t, append(args, admin...)...)
		if exit != want {
			t.Errorf("turnd %v: exit code %d, want %d: %s", args, exit, want, stderr)
		}
		out.WriteString(stdout)
		return stdout + stderr
	}
	step(0, "reload", "--json")
	if _, permitted := allocate(t, r, "p", "127.0.0.5"); permitted == nil || !strings.Contains(permitted.Error(), "403") {
		t.Errorf("the new rule is not in force: %v", permitted)
	}
	write(file, strings.Replace(conf, "bench.local", "other", 1))
	step(0, "reload", "--json")
	golden(t, "reload.json", out.String())
	if text := step(0, "reload"); !strings.Contains(text, "needs a restart: turnd.realm") {
		t.Errorf("got %q", text)
	}
	write(file, "[turnd]\nnonsense = 1\n")
	if text := step(3, "reload"); !strings.Contains(text, "nonsense") {
		t.Errorf("got %q", text)
	}
	write(file, conf)
	write(users, "broken")
	step(3, "reload")
	if allocated, _ := allocate(t, r, "p", "127.0.0.1"); allocated != nil {
		t.Errorf("a failed reload changed something: %v", allocated)
	}
}

func TestSessionsCommands(t *testing.T) {
	admin := adminFlags(t)
	r := start(t, onLoopback(t, admin...)...)
	a := hold(t, r, "127.0.0.5")
	id := "tcp/" + a.Relayed().String()
	if info, err := os.Stat(admin[1]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	var objects string
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"sessions", "ls"}, 0, id},
		{[]string{"sessions", "show", id}, 0, "permits 127.0.0.5 for "},
		{[]string{"top", "-n", "1"}, 0, "1 sessions"},
		{[]string{"sessions", "ls", "--json"}, 0, id},
		{[]string{"sessions", "show", id, "--json"}, 0, id},
		{[]string{"sessions", "show", "udp/1.2.3.4:5"}, 2, "no session"},
		{[]string{"sessions", "kill", id, "--json"}, 0, id},
		{[]string{"sessions", "kill", id}, 2, "no session"},
		{[]string{"sessions", "ls", "--json"}, 0, `"sessions":[]`},
		{[]string{"sessions", "ls", "--admin-socket", "/nowhere"}, 4, "no server answers"},
	} {
		args := c.args
		if !strings.Contains(strings.Join(args, " "), "/nowhere") {
			args = append(args, admin...)
		}
		exit, out, errOut := command(t, args...)
		if exit != c.exit || !strings.Contains(out+errOut, c.want) {
			t.Errorf("turnd %v: exit code %d, want %d, and %q in\n%s%s", c.args, exit, c.exit, c.want, out, errOut)
		}
		if strings.HasPrefix(out, "{") {
			objects += out
		}
	}
	golden(t, "sessions.json", objects)
}

func TestDrainCommand(t *testing.T) {
	admin := adminFlags(t)
	r := start(t, onLoopback(t, append(admin, "--metrics", "127.0.0.1:0")...)...)
	a := hold(t, r, "127.0.0.1")
	exit, out, errOut := command(t, append([]string{"drain", "--grace", "1h", "--json"}, admin...)...)
	if exit != 0 {
		t.Fatalf("exit code %d: %s", exit, errOut)
	}
	golden(t, "drain.json", out)
	resp, err := http.Get("http://" + r.ready.Metrics + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Errorf("ready while draining: %d", resp.StatusCode)
	}
	if allocated, _ := allocate(t, r, "p", "127.0.0.1"); allocated == nil || !strings.Contains(allocated.Error(), "508") {
		t.Errorf("a new allocation: got %v, want 508", allocated)
	}
	a.Close()
	select {
	case code := <-r.exit:
		r.exit <- code
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end with the last session")
	}
}

// process runs the command as a process until it is ready.
func process(t *testing.T, args ...string) (*exec.Cmd, *turnd) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"run", "--json"}, args...)...)
	cmd.Env = append(os.Environ(), "TURND_TEST_MAIN=1", "HOME="+t.TempDir(), "XDG_RUNTIME_DIR=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := &turnd{t: t}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || json.Unmarshal([]byte(line), &r.ready) != nil {
		t.Fatalf("printed %q, %v", line, err)
	}
	go io.Copy(io.Discard, out)
	return cmd, r
}

// ends waits for the process and returns how long that took.
func ends(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	began := time.Now()
	stuck := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	return time.Since(began)
}

func TestSIGTERMDrains(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		cmd, _ := process(t, onLoopback(t, "--drain-grace", "1h")...)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ends(t, cmd)
	})
	t.Run("until the grace is over", func(t *testing.T) {
		cmd, r := process(t, onLoopback(t, "--drain-grace", "300ms")...)
		hold(t, r, "127.0.0.1")
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if took := ends(t, cmd); took < 250*time.Millisecond {
			t.Errorf("it ended after %v", took)
		}
	})
	t.Run("the second ends it now", func(t *testing.T) {
		cmd, r := process(t, onLoopback(t, "--drain-grace", "1h")...)
		hold(t, r, "127.0.0.1")
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for { // until the first has been understood
			if allocated, _ := allocate(t, r, "p", "127.0.0.1"); allocated != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not drain")
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ends(t, cmd)
	})
}

func TestSIGHUPReloads(t *testing.T) {
	users := usersFile(t, "u:p\n", 0o600)
	cmd, r := process(t, onLoopback(t, "--users-file", users)...)
	a := hold(t, r, "127.0.0.1")
	if err := os.WriteFile(users, []byte("u:p\nu2:p\nu3:p3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if exit, _, _ := command(t, "check", "turn:u3@"+r.ready.TCP[0].String(), "--pass", "p3", "--tcp", "--family", "4", "--no-data"); exit == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new user is not let in")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.Permit(ctx, mustAddr("127.0.0.2")); err != nil {
		t.Errorf("the session that was there: %v", err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ends(t, cmd)
}
