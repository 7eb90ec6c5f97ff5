//go:build amd64 || arm64

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/core/offload"
	"traverse.internal/internal/netlab"
	"traverse.internal/internal/relayadmin"
)

// kernelStatus asks the admin socket.
func kernelStatus(t *testing.T, socket string) (status relayadmin.Offload) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://turnd/v1/offload")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status
}

// TestOffload says how each mode goes, with the rights for it.
func TestOffload(t *testing.T) {
	if !netlab.Alone(t) {
		return
	}
	netlab.NewHost(t).Cable(t, "client", []string{"10.1.0.1/24"}, []string{"10.1.0.2/24"})
	if r, err := offload.Open(offload.Config{}); err != nil {
		t.Skipf("MISSING: eBPF in this kernel: %v", err)
	} else {
		_ = r.Close()
	}
	for _, c := range []struct{ mode, at, state, reason, says string }{
		{"off", "10.1.0.1:3478", "off", "", ""},
		{"auto", "127.0.0.1:3478", "off", "loopback", "nothing is relayed in the kernel"},
		{"auto", "10.1.0.1:3478", "on", "", "client tcx"},
		{"tc", "10.1.0.1:3478", "on", "", "client tcx"},
	} {
		t.Run(c.mode+" at "+c.at, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "admin")
			r := start(t, "--listen-udp", c.at, "--listen-tcp", c.at, "--offload", c.mode, "--admin-socket", socket)
			got := kernelStatus(t, socket)
			if got.Mode != c.mode || got.State != c.state || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %+v, want %s: %s", got, c.state, c.reason)
			}
			r.stop()
			if log := r.stderr.String(); !strings.Contains(log, c.says) && !strings.Contains(log, strings.Replace(c.says, "tcx", "clsact", 1)) {
				t.Errorf("the log does not say %q:\n%s", c.says, log)
			}
		})
	}
}

// TestOffloadWithoutRights: auto goes on and says why, tc does not start.
func TestOffloadWithoutRights(t *testing.T) {
	if !netlab.Alone(t) {
		return
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("MISSING: setpriv, of util-linux")
	}
	netlab.NewHost(t).Cable(t, "client", []string{"10.1.0.1/24"}, []string{"10.1.0.2/24"})
	for _, c := range []struct {
		mode string
		says string
	}{
		{"auto", "everything is relayed in user space"},
		{"tc", "there can be no relay in the kernel"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			cmd := exec.Command("setpriv", "--bounding-set", "-cap_39,-net_admin,-sys_admin", // 39 is CAP_BPF
				os.Args[0], "run", "--json", "--listen-udp", "10.1.0.1:3478", "--offload", c.mode)
			cmd.Env = append(os.Environ(), "TURND_TEST_MAIN=1", "HOME="+t.TempDir())
			log := new(strings.Builder)
			cmd.Stderr = log
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			first, _ := bufio.NewReader(out).ReadString('\n') // its readiness, or its error
			if c.mode == "auto" {
				_ = cmd.Process.Signal(os.Interrupt)
			}
			err = cmd.Wait()
			if started := strings.Contains(first, `"kind":"ready"`); started != (c.mode == "auto") {
				t.Errorf("started: got %v; %v", started, err)
			}
			if said := first + log.String(); !strings.Contains(said, c.says) || !strings.Contains(said, "CAP_BPF and CAP_NET_ADMIN") {
				t.Errorf("got\n%s\nwant %q and the capabilities that it takes", said, c.says)
			}
		})
	}
}
