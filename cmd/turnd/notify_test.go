package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A service manager hears READY=1 when clients can connect, then that the server is well, at last that it stops.
func TestNotifies(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	exit := make(chan int, 1)
	var errOut bytes.Buffer
	go func() {
		env := []string{"HOME=" + t.TempDir(), "NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=20000"}
		exit <- run(ctx, append([]string{"run"}, onLoopback(t, "--listen-tcp", at)...), env, io.Discard, &errOut)
	}()
	buf := make([]byte, 4<<10)
	heard := func() string {
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	words := heard()
	for strings.HasPrefix(words, "FDSTORE=1\n") { // its sockets, before it is ready
		words = heard()
	}
	if got, want := words, "READY=1\nSTATUS=0 allocations, 0 TCP connections of clients\n"; got != want {
		t.Errorf("first words %q, want %q", got, want)
	}
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatalf("ready, and does not listen: %v", err)
	}
	defer c.Close()
	for !strings.Contains(heard(), "WATCHDOG=1\nSTATUS=0 allocations, 1 TCP connections") {
	}
	cancel()
	for !strings.HasPrefix(heard(), "STOPPING=1\n") {
	}
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d, %s", code, &errOut)
	}
}
