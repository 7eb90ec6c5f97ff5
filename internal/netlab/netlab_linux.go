package netlab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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
	limit := aloneFor(t)
	args := []string{"-test.run=" + strings.Join(parts, "/"), "-test.v=true", "-test.timeout=" + limit.String()}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	cmd.WaitDelay = grace  // for what it has left behind, which has its output too
	runtime.LockOSThread() // whose death the child would follow
	defer runtime.UnlockOSThread()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Start()
	if err == nil {
		done := func() bool { return false }
		if limit > 0 { // it ends by itself, with its stacks, and by our hand where it does not even do that
			done = Bound(cmd.Process, limit+grace)
		}
		err = cmd.Wait()
		if done() {
			err = fmt.Errorf("killed after %v: %w", limit+grace, err)
		}
	}
	out := said.String()
	t.Logf("in a network of its own, for %v at most:\n%s", limit, out)
	if err != nil {
		if strings.Contains(err.Error(), "operation not permitted") {
			t.Skip("MISSING: the right to make a network namespace")
		}
		t.Fatalf("in a network of its own: %v", err)
	}
	if strings.Contains(out, "--- SKIP: "+t.Name()) {
		t.Skip("skipped in the network of its own")
	}
	return false
}

// Limits of time. A test that hangs must end while somebody is there to print where it stood, and leave time to the tests after it.
const (
	aloneMost = 5 * time.Minute  // one in its own process, or half of what is left where that is more: those that are asked for one by one
	grace     = 10 * time.Second // to print stacks
	Patience  = 5 * time.Minute  // a command that a test runs, a build on a busy machine above all
)

// aloneFor is how long the process of a test may run; 0 is without end, as the outer one.
func aloneFor(t *testing.T) time.Duration {
	end, ok := t.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(end) - 3*grace
	return max(min(left, max(aloneMost, left/2)), time.Second).Round(time.Second)
}

// Bound asks a process for its stacks and ends it, when it runs that long from now, which a program in Go does for SIGQUIT; grace later it is killed. The
// function that it returns lifts the bound, and says whether it was passed.
func Bound(p *os.Process, limit time.Duration) (done func() (passed bool)) {
	var kill atomic.Pointer[time.Timer]
	quit := time.AfterFunc(limit, func() {
		_ = p.Signal(unix.SIGCONT) // it may stand still
		_ = p.Signal(unix.SIGQUIT)
		kill.Store(time.AfterFunc(grace, func() { _ = p.Kill() }))
	})
	return func() bool {
		if quit.Stop() {
			return false
		}
		if k := kill.Load(); k != nil {
			k.Stop()
		}
		return true
	}
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
	if out, err := output(cmd); err != nil {
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

// Run runs a command and fails the test when it does, or runs longer than Patience.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := output(exec.Command(name, args...))
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// output is what a command says.
func output(cmd *exec.Cmd) (string, error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return "", err
	}
	done := Bound(cmd.Process, Patience)
	err := cmd.Wait()
	if done() {
		err = fmt.Errorf("ended after %v: %w", Patience, err)
	}
	return said.String(), err
}
