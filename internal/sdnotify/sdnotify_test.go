package sdnotify

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager listens as a service manager does.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func next(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 4<<10)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v
			}
		}
		return ""
	}
}

func TestServe(t *testing.T) {
	for _, c := range []struct{ name, socket string }{
		{"a path", filepath.Join(t.TempDir(), "notify")},
		{"an abstract address", fmt.Sprintf("@traverse-sdnotify-test-%d", os.Getpid())},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := manager(t, c.socket)
			n, err := Open(env("NOTIFY_SOCKET="+c.socket, "WATCHDOG_USEC=2000", "WATCHDOG_PID="+strconv.Itoa(os.Getpid())))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			asked := 0
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				n.Serve(ctx, func() string { asked++; return fmt.Sprintf("look\n%d", asked) })
			}()
			for _, want := range []string{"READY=1\nSTATUS=look 1\n", "WATCHDOG=1\nSTATUS=look 2\n", "WATCHDOG=1\nSTATUS=look 3\n"} {
				if got := next(t, m); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			cancel()
			<-ended
			last := ""
			for !strings.HasPrefix(last, "STOPPING") {
				last = next(t, m)
			}
			if last != "STOPPING=1\nSTATUS=stopping\n" {
				t.Errorf("the last words are %q", last)
			}
		})
	}
}

// A program that hangs must not look well.
func TestHangingStatusIsSilence(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	m := manager(t, socket)
	n, err := Open(env("NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=2000"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hang, hanging, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	looks := 0
	go func() {
		defer close(ended)
		n.Serve(ctx, func() string {
			if looks++; looks == 2 {
				close(hanging)
				<-hang
			}
			return ""
		})
	}()
	next(t, m)
	<-hanging
	if err := m.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil { // ten intervals
		t.Fatal(err)
	}
	if got, err := m.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes came while the status hung", got)
	}
	cancel()
	close(hang)
	<-ended
}

func TestOpen(t *testing.T) {
	other := strconv.Itoa(os.Getpid() + 1)
	for _, c := range []struct {
		name     string
		env      []string
		notifies bool
		interval time.Duration
		wrong    bool
	}{
		{"no manager", nil, false, 0, false},
		{"no manager, and a watchdog of somebody else's", []string{"WATCHDOG_USEC=1000000"}, false, 0, false},
		{"no watchdog", []string{"NOTIFY_SOCKET=/run/n"}, true, 0, false},
		{"a watchdog", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=30000000"}, true, 30 * time.Second, false},
		{"a watchdog of another process", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=30000000", "WATCHDOG_PID=" + other}, true, 0, false},
		{"a relative path", []string{"NOTIFY_SOCKET=run/n"}, false, 0, true},
		{"an empty abstract address", []string{"NOTIFY_SOCKET=@"}, false, 0, true},
		{"a watchdog of no time", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=0"}, false, 0, true},
		{"a watchdog of too long a time", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=9223372036854775807"}, false, 0, true},
		{"a watchdog of nonsense", []string{"NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=soon"}, false, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := Open(env(c.env...))
			if (err != nil) != c.wrong || (n != nil) != c.notifies {
				t.Fatalf("got %v, %v", n, err)
			}
			if n != nil && n.interval != c.interval {
				t.Errorf("interval %v, want %v", n.interval, c.interval)
			}
		})
	}
}

// Nobody listens, or nobody is named: the program goes on until its context ends.
func TestNobodyListens(t *testing.T) {
	gone, err := Open(env("NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "none"), "WATCHDOG_USEC=2000"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Notifier{nil, gone} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		n.Serve(ctx, func() string { return strings.Repeat("x", 10*maxStatus) })
		cancel()
	}
}
