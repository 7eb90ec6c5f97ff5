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

	"traverse.internal/daemon"
)

// A service manager hears READY=1 when the local API answers, and STOPPING=1 before the end.
func TestUpNotifies(t *testing.T) {
	home := t.TempDir()
	socket := filepath.Join(home, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	env := []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=50000"}
	if code := run(t.Context(), []string{"--home", home, "init", "--name", "watched"}, env, io.Discard, io.Discard); code != 0 {
		t.Fatalf("init: exit code %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	exit := make(chan int, 1)
	var errOut bytes.Buffer
	go func() {
		exit <- run(ctx, []string{"--home", home, "up", "--private-dht", "--dht-listen", "127.0.0.1:0"}, env, io.Discard, &errOut)
	}()
	buf := make([]byte, 4<<10)
	heard := func() string {
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got, want := heard(), "READY=1\nSTATUS=watched: 0 of 0 contacts connected, 0 DHT nodes, 0 transfers\n"; got != want {
		t.Errorf("first words %q, want %q", got, want)
	}
	if _, err := daemon.NewClient(filepath.Join(home, "node.sock")).Status(t.Context()); err != nil {
		t.Errorf("ready, and the local API does not answer: %v", err)
	}
	for !strings.HasPrefix(heard(), "WATCHDOG=1\n") {
	}
	cancel()
	for !strings.HasPrefix(heard(), "STOPPING=1\n") {
	}
	<-exit
}
