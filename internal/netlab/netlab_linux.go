package netlab

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const marker = "NETLAB_TEST" // the test that runs in a process of its own

// Alone runs the test once more, in a process with an empty network, and says in which of the two this is: in the outer one,
// where it is false, all is over. The test skips for who is not root.
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(marker) == t.Name() {
		Run(t, "ip", "link", "set", "lo", "up")
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("MISSING: root, for a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("MISSING: ip, of iproute2")
	}
	var parts []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		parts = append(parts, "^"+part+"$")
	}
	args := []string{"-test.run=" + strings.Join(parts, "/"), "-test.v=true"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // whose death the child would follow
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	t.Logf("in a network of its own:\n%s", out)
	if err != nil {
		if strings.Contains(err.Error(), "operation not permitted") {
			t.Skip("MISSING: the right to make a network namespace")
		}
		t.Fatalf("in a network of its own: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP: "+t.Name()) {
		t.Skip("skipped in the network of its own")
	}
	return false
}

// Host is a namespace besides the process's own.
type Host struct{ ns *os.File }

// NewHost makes a host without any cable.
func NewHost(t *testing.T) *Host {
	t.Helper()
	h := &Host{}
	away(t, func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Fatalf("make a namespace: %v", err)
		}
		h.ns = current(t)
		Run(t, "ip", "link", "set", "lo", "up")
	})
	t.Cleanup(func() { _ = h.ns.Close() })
	return h
}

// Do runs f at the host: the sockets that it opens, in its own goroutine, are there, and stay there.
func (h *Host) Do(t *testing.T, f func()) {
	t.Helper()
	away(t, func() {
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Fatalf("go to a namespace: %v", err)
		}
		f()
	})
}

// away runs f on a thread that may change its namespace, and comes back.
func away(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	home := current(t)
	defer home.Close()
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Fatalf("come back to the namespace: %v", err) // the thread stays locked, and ends with its goroutine
		}
		runtime.UnlockOSThread()
	}()
	f()
}

func current(t *testing.T) *os.File {
	t.Helper()
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// Cable lays a veth pair from here, where it is called name and has the first addresses, to the host, where it is called
// eth0 and has the second, in the notation of ip: "192.0.2.1/24", "2001:db8::1/64". Checksums are complete on it.
func (h *Host) Cable(t *testing.T, name string, here, there []string) {
	t.Helper()
	cmd := exec.Command("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{h.ns}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("lay a cable: %v\n%s", err, out)
	}
	up := func(name string, addrs []string) {
		Checksums(t, name, false)
		for _, a := range addrs {
			Run(t, "ip", "addr", "add", a, "dev", name, "nodad")
		}
		Run(t, "ip", "link", "set", name, "up")
	}
	up(name, here)
	h.Do(t, func() { up("eth0", there) })
}

// Checksums says whether senders on an interface leave checksums to it, as they do until somebody says otherwise.
func Checksums(t *testing.T, name string, left bool) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM}
	if left {
		value.data = 1
	}
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatalf("set the checksums of %s: %v", name, errno)
	}
}

// Run runs a command and fails the test when it does.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
