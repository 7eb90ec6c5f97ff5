package netlab

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Here is the namespace that the test's process began in, as a host.
func Here(t *testing.T) *Host {
	t.Helper()
	h := &Host{ns: current(t)}
	t.Cleanup(func() { _ = h.ns.Close() })
	return h
}

// Wire lays a veth pair between two hosts: name and its addresses, in the notation of ip, at this one.
func (h *Host) Wire(t *testing.T, name string, addrs []string, to *Host, toName string, toAddrs []string) {
	t.Helper()
	h.Do(t, func() {
		cmd := exec.Command("ip", "link", "add", name, "type", "veth", "peer", "name", toName, "netns", "/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{to.ns}
		if out, err := output(cmd); err != nil {
			t.Fatalf("lay a wire: %v\n%s", err, out)
		}
	})
	for _, end := range []struct {
		host  *Host
		name  string
		addrs []string
	}{{h, name, addrs}, {to, toName, toAddrs}} {
		var batch strings.Builder
		for _, a := range end.addrs {
			batch.WriteString("addr add " + a + " dev " + end.name + " nodad\n")
		}
		batch.WriteString("link set " + end.name + " up\n")
		end.host.Feed(t, batch.String(), "ip", "-batch", "-")
	}
}

// Feed runs a command at the host with the text as its input, and fails the test when it does.
func (h *Host) Feed(t *testing.T, text, name string, args ...string) {
	t.Helper()
	h.Do(t, func() {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(text)
		if out, err := output(cmd); err != nil {
			t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, text)
		}
	})
}

// Run runs a command at the host and fails the test when it does.
func (h *Host) Run(t *testing.T, name string, args ...string) (out string) {
	t.Helper()
	h.Do(t, func() { out = Run(t, name, args...) })
	return out
}

// Start starts a program at the host, with all that it will open there. It does not outlive the test's process, however that ends.
func (h *Host) Start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	}
	h.Do(t, func() {
		if err := cmd.Start(); err != nil {
			t.Fatalf("start %s: %v", cmd.Path, err)
		}
	})
}

// Sysctl sets a value below /proc/sys/net of the host.
func (h *Host) Sysctl(t *testing.T, key, value string) {
	t.Helper()
	h.Do(t, func() {
		if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
			t.Fatalf("set a sysctl: %v", err)
		}
	})
}
