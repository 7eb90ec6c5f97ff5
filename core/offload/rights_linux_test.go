//go:build amd64 || arm64

package offload

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"traverse.internal/internal/netlab"
)

// withOnly runs f on a thread that has just these capabilities.
func withOnly(t *testing.T, f func(), caps ...int) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i].Effective = 0
	}
	for _, c := range caps {
		data[c/32].Effective |= 1 << (c % 32)
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	f()
}

// TestRights: two capabilities are enough, and the error says which where they are missing.
func TestRights(t *testing.T) {
	if !netlab.Alone(t) {
		return
	}
	h := netlab.NewHost(t)
	h.Cable(t, "client", []string{"10.1.0.1/24"}, []string{"10.1.0.2/24"})
	if r, err := Open(Config{}); err != nil {
		t.Skipf("MISSING: eBPF in this kernel: %v", err)
	} else {
		_ = r.Close()
	}
	for _, c := range []struct {
		name string
		caps []int
		ok   bool
	}{
		{"both", []int{unix.CAP_BPF, unix.CAP_NET_ADMIN}, true},
		{"no CAP_BPF", []int{unix.CAP_NET_ADMIN}, false},
		{"no CAP_NET_ADMIN", []int{unix.CAP_BPF}, false},
		{"none", nil, false},
	} {
		for _, config := range []Config{{}, {NoTCX: true}} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				withOnly(t, func() {
					r, err := Open(config)
					if err == nil {
						defer r.Close()
					}
					switch {
					case c.ok && err != nil:
						t.Errorf("%s: %v", c.name, err)
					case c.ok && (len(r.Stats().Interfaces) != 1 || r.Stats().Interfaces[0].How == ""):
						t.Errorf("%s: interfaces %+v", c.name, r.Stats().Interfaces)
					case !c.ok && (!errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_BPF and CAP_NET_ADMIN")):
						t.Errorf("%s: got %v, want EPERM and what it takes", c.name, err)
					}
				}, c.caps...)
			}()
			<-done
		}
	}
}
