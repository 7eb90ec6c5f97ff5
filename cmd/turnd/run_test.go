package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/turnclient"
)

// TestMain lets the test binary be the program, for the tests that need a process.
func TestMain(m *testing.M) {
	if os.Getenv("TURND_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// turnd is a running command, in this process.
type turnd struct {
	t      *testing.T
	cancel context.CancelFunc
	exit   chan int
	ready  readiness
	stderr *bytes.Buffer // to be read after stop
}

// start runs the command until it is ready.
func start(t *testing.T, args ...string) *turnd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &turnd{t: t, cancel: cancel, exit: make(chan int, 1), stderr: new(bytes.Buffer)}
	out, w := io.Pipe()
	env := []string{"HOME=" + t.TempDir()}
	go func() {
		code := run(ctx, append([]string{"run", "--json"}, args...), env, w, r.stderr)
		w.Close()
		r.exit <- code
	}()
	t.Cleanup(func() { r.stop() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || json.Unmarshal([]byte(line), &r.ready) != nil {
		t.Fatalf("not ready: %q, %v; exit %d, %s", line, err, <-r.exit, r.stderr)
	}
	go io.Copy(io.Discard, out)
	return r
}

// stop ends the command as a signal does, and returns its exit code.
func (r *turnd) stop() int {
	r.cancel()
	select {
	case code := <-r.exit:
		r.exit <- code
		return code
	case <-time.After(10 * time.Second):
		r.t.Error("the command does not end")
		return -1
	}
}

func usersFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// onLoopback are the flags of a server on free ports of loopback.
func onLoopback(t *testing.T, more ...string) []string {
	return append([]string{
		"--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0", "--realm", "bench.local", "--users-file", usersFile(t, "u:p\n", 0o600),
		"--relay-ip4", "127.0.0.1", "--port-range", "40000-49000", "--allow-peer", "127.0.0.0/8,::1/128",
	}, more...)
}

// allocate makes a TCP allocation as u, and tries to permit a peer.
func allocate(t *testing.T, r *turnd, password, peer string) (allocated, permitted error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := turnclient.Dial(ctx, turnclient.Config{Server: r.ready.TCP[0], Username: "u", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Allocate(ctx, turnclient.IPv4)
	if err != nil {
		return err, nil
	}
	defer a.Close()
	if port := a.Relayed().Port(); port < 40000 || port > 49000 {
		t.Errorf("relayed port %d is outside the range", port)
	}
	return nil, a.Permit(ctx, netip.MustParseAddr(peer))
}

// connect asks the relay for a connection to a peer.
func connect(t *testing.T, r *turnd, peer netip.AddrPort) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := turnclient.Dial(ctx, turnclient.Config{Server: r.ready.TCP[0], Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Allocate(ctx, turnclient.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	conn, err := a.Connect(ctx, peer)
	if err == nil {
		conn.Close()
	}
	return err
}

func TestServes(t *testing.T) {
	r := start(t, onLoopback(t, "--metrics", "127.0.0.1:0", "--deny-peer", "127.0.0.3/32")...)
	if allocated, permitted := allocate(t, r, "p", "127.0.0.1"); allocated != nil || permitted != nil {
		t.Errorf("the right password: %v, %v", allocated, permitted)
	}
	if allocated, _ := allocate(t, r, "wrong", "127.0.0.1"); allocated == nil {
		t.Error("a wrong password gets an allocation")
	}
	for _, denied := range []string{"127.0.0.3", "10.0.0.1"} {
		if _, permitted := allocate(t, r, "p", denied); permitted == nil || !strings.Contains(permitted.Error(), "403") {
			t.Errorf("%s: got %v, want 403", denied, permitted)
		}
	}
	metricsAt := netip.MustParseAddrPort(r.ready.Metrics)
	if err := connect(t, r, metricsAt); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("relaying to the metrics port: got %v, want 403", err)
	}
	resp, err := http.Get("http://" + r.ready.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{
		"turnd_allocations_created_total 4", `turnd_auth_failures_total{reason="password"} `,
		`turnd_denied_peers_total{reason="rule"} 1`, `turnd_denied_peers_total{reason="special"} 1`,
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("metrics have no %q", want)
		}
	}
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d, %s", code, r.stderr)
	}
}

// Nothing given: loopback, a user of its own making, and no peers but its own relayed addresses.
func TestWithoutConfiguration(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.1:3478"); err != nil {
		t.Skipf("another TURN server runs here: %v", err)
	} else {
		l.Close()
	}
	r := start(t)
	made := r.ready.Credentials
	if made == nil || len(made.Password) < 16 {
		t.Fatalf("credentials %+v", made)
	}
	for _, at := range append(r.ready.UDP, r.ready.TCP...) {
		if !at.Addr().IsLoopback() {
			t.Errorf("listens on %v", at)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := func() *turnclient.Allocation {
		c, err := turnclient.Dial(ctx, turnclient.Config{Server: r.ready.TCP[0], Username: made.User, Password: made.Password})
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.Allocate(ctx, turnclient.IPv4)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		return a
	}
	a, b := client(), client()
	if err := b.Permit(ctx, a.Relayed().Addr()); err != nil {
		t.Fatal(err)
	}
	conn, err := a.Connect(ctx, b.Relayed())
	if err != nil {
		t.Fatalf("relay to relay: %v", err)
	}
	conn.Close()
	secret, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	if conn, err := a.Connect(ctx, secret.Addr().(*net.TCPAddr).AddrPort()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("another port of loopback: got %v, %v, want 403", conn, err)
	}
}

func TestBadInput(t *testing.T) {
	taken := start(t, onLoopback(t)...)
	tcp, udp := taken.ready.TCP[0].String(), taken.ready.UDP[0].String()
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string // in what is printed
	}{
		{"tcp port in use", onLoopback(t, "--listen-tcp", tcp), 3, []string{"error: ", "why:   ", "address already in use", "try:   "}},
		{"udp port in use", onLoopback(t, "--listen-udp", udp), 3, []string{"address already in use", "--listen-udp"}},
		{"metrics port in use", onLoopback(t, "--metrics", tcp), 3, []string{"address already in use", "--metrics"}},
		{"an address of somebody else", onLoopback(t, "--listen-tcp", "192.0.2.1:0"), 3, []string{"an address of this machine"}},
		{"users file for all to read", onLoopback(t, "--users-file", usersFile(t, "u:p\n", 0o644)), 3, []string{"open to others", "0600"}},
		{"users file without passwords", onLoopback(t, "--users-file", usersFile(t, "u\n", 0o600)), 3, []string{"line 1"}},
		{"no users file", onLoopback(t, "--users-file", filepath.Join(t.TempDir(), "none")), 3, []string{"no such file"}},
		{"no address", onLoopback(t, "--listen-udp", "nonsense"), 3, []string{"listen"}},
		{"no network", onLoopback(t, "--allow-peer", "1.2.3.4/99"), 3, []string{"allow_peer"}},
		{"ports backwards", onLoopback(t, "--port-range", "9-5"), 3, []string{"port_range"}},
		{"no configuration file", onLoopback(t, "--config", filepath.Join(t.TempDir(), "none")), 3, []string{"no such file"}},
		{"unknown flag", []string{"--nonsense"}, 2, []string{"unknown flag", "turnd run -h"}},
		{"an argument", []string{"now"}, 2, []string{"takes no arguments"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			env := []string{"HOME=" + t.TempDir()}
			if exit := run(t.Context(), append([]string{"run"}, c.args...), env, &out, &errOut); exit != c.exit {
				t.Errorf("exit code %d, want %d", exit, c.exit)
			}
			for _, want := range c.want {
				if !strings.Contains(errOut.String(), want) {
					t.Errorf("%q is missing from\n%s", want, &errOut)
				}
			}
			if out.Len() > 0 {
				t.Errorf("printed %q", &out)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args string
		exit int
		want string
	}{
		{"", 0, "Examples:\n  turnd run"},
		{"-h", 0, "Examples:\n  turnd run"},
		{"run -h", 0, "serve until terminated\n\nExamples:\n  turnd run"},
		{"help run", 0, "--port-range"},
		{"help exit-codes", 0, "E_PORT_IN_USE"},
		{"help E_PORT_IN_USE", 0, "exit code 3"},
		{"help nonsense", 2, ""},
		{"nonsense", 2, ""},
	} {
		var out, errOut bytes.Buffer
		if exit := run(t.Context(), strings.Fields(c.args), nil, &out, &errOut); exit != c.exit || !strings.Contains(out.String(), c.want) {
			t.Errorf("turnd %s: exit code %d, want %d, and %q in\n%s%s", c.args, exit, c.exit, c.want, &out, &errOut)
		}
	}
}

// What is printed when it listens, literally: others parse it.
func TestReadyObject(t *testing.T) {
	r := start(t, onLoopback(t, "--metrics", "127.0.0.1:0")...)
	got, err := json.Marshal(r.ready)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"schema":"turnd.v1","kind":"ready","udp":["%v"],"tcp":["%v"],"metrics":"%s"}`, r.ready.UDP[0], r.ready.TCP[0], r.ready.Metrics)
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSignalsEndIt(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd := exec.Command(os.Args[0], append([]string{"run"}, onLoopback(t)...)...)
		cmd.Env = append(os.Environ(), "TURND_TEST_MAIN=1", "HOME="+t.TempDir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "turn on udp 127.0.0.1:") {
			t.Errorf("printed %q, %v", line, err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
}
