package testnet

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// TestLANAlone: two devices on a link with nothing else, no router, no Internet, no relay, and each in a DHT of its own: one
// sends the other a file. The programs are the real ones.
func TestLANAlone(t *testing.T) {
	t.Parallel()
	program := nodeProgram(t)
	if !netlab.Alone(t) {
		return
	}
	for name, addrs := range map[string][2]string{
		"IPv4": {"192.168.7.1/24", "192.168.7.2/24"},
		"IPv6": {"fd00:7::1/64", "fd00:7::2/64"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := &home{host: netlab.NewHost(t), program: program}, &home{host: netlab.NewHost(t), program: program}
			a.host.Wire(t, "eth0", []string{addrs[0]}, b.host, "eth0", []string{addrs[1]})
			a.begin(t, "a")
			b.begin(t, "b")
			a.run(t, "contact", "add", "b", b.id)
			b.run(t, "contact", "add", "a", a.id)
			a.up(t)
			b.up(t)
			file := filepath.Join(t.TempDir(), "letter")
			if err := os.WriteFile(file, []byte("across the link"), 0o600); err != nil {
				t.Fatal(err)
			}
			var sent struct {
				State string
				Path  struct{ Kind, Reason string }
			}
			out := a.run(t, "--json", "--timeout", "30s", "send", file, "b")
			if err := json.Unmarshal([]byte(out), &sent); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if sent.State != "done" || sent.Path.Kind != "direct" || sent.Path.Reason != "DIRECT_LAN" {
				t.Errorf("got %s, want done and direct, DIRECT_LAN", out)
			}
		})
	}
}

// nodeProgram is the real program, built once for all tests: a test's own process has it from the outer one, which asks before netlab.Alone.
func nodeProgram(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(programEnv); path != "" {
		return path
	}
	if os.Getuid() != 0 {
		return "" // and netlab.Alone skips
	}
	building.Do(func() {
		path := filepath.Join(scratch, "node")
		netlab.Run(t, "go", "build", "-o", path, "traverse.internal/cmd/node")
		os.Setenv(programEnv, path)
		program = path
	})
	if program == "" {
		t.Fatal("node was not built")
	}
	return program
}

// programEnv says where a test's own process finds node.
const programEnv = "TESTNET_NODE"

var (
	building sync.Once
	program  string // what building made
)

// home is a device of a real program.
type home struct {
	host          *netlab.Host
	program, path string
	id            string
}

func (h *home) begin(t *testing.T, name string) {
	t.Helper()
	h.path = filepath.Join(t.TempDir(), name)
	var made struct {
		ID string `json:"device_id"`
	}
	if out := h.run(t, "--json", "init", "--name", name); json.Unmarshal([]byte(out), &made) != nil || made.ID == "" {
		t.Fatalf("init says %s", out)
	}
	h.id = made.ID
}

func (h *home) run(t *testing.T, args ...string) string {
	t.Helper()
	return h.host.Run(t, h.program, append([]string{"--home", h.path}, args...)...)
}

// up runs the daemon until the test ends.
func (h *home) up(t *testing.T, flags ...string) {
	t.Helper()
	cmd := exec.Command(h.program, append([]string{"--home", h.path, "up", "--private-dht", "--accept", "auto", "--json"}, flags...)...)
	said := &tail{}
	cmd.Stderr = said
	ready := make(chan struct{}, 1)
	cmd.Stdout = writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("}")) {
			select {
			case ready <- struct{}{}:
			default:
			}
		}
		return len(b), nil
	})
	h.host.Start(t, cmd)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		defer netlab.Bound(cmd.Process, patience)()
		if err := <-ended; err != nil {
			t.Logf("the node ended: %v", err)
		}
		if t.Failed() {
			t.Logf("%s", said)
		}
	})
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Fatalf("the node is not up: %s", said)
	}
}
