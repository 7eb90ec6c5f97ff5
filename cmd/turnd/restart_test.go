//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"traverse.internal/core/stun"
)

// manager is a service manager: it hears what the program says, and keeps sockets for it.
type manager struct {
	t     *testing.T
	conn  *net.UnixConn
	path  string
	said  []string
	names []string
	files []*os.File
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &manager{t: t, path: filepath.Join(dir, "n")}
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: m.path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	return m
}

// hear reads words until one begins as wanted.
func (m *manager) hear(want string) string {
	m.t.Helper()
	b, oob := make([]byte, 4096), make([]byte, 256)
	for {
		_ = m.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, oobn, _, _, err := m.conn.ReadMsgUnix(b, oob)
		if err != nil {
			m.t.Fatalf("waiting for %s: %v; heard %q", want, err, m.said)
		}
		text := string(b[:n])
		m.said = append(m.said, text)
		if strings.HasPrefix(text, "FDSTORE=1") {
			m.keep(text, oob[:oobn])
		}
		if strings.HasPrefix(text, want) {
			return text
		}
	}
}

func (m *manager) keep(text string, oob []byte) {
	m.t.Helper()
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		m.t.Fatalf("%q with %d messages, %v", text, len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		m.t.Fatalf("%d descriptors, %v", len(fds), err)
	}
	_, name, _ := strings.Cut(strings.TrimSpace(text), "FDNAME=")
	file := os.NewFile(uintptr(fds[0]), name)
	if slices.Contains(m.names, name) { // systemd keeps no socket twice
		file.Close()
		return
	}
	m.names, m.files = append(m.names, name), append(m.files, file)
	m.t.Cleanup(func() { file.Close() })
}

// start runs the program with the sockets that are kept, until it is ready.
func (m *manager) start(args ...string) (*exec.Cmd, readiness) {
	m.t.Helper()
	// The process has to know its number before it is there: the shell does.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", os.Args[0], "run", "--json"}, args...)...)
	cmd.Env = append(os.Environ(), "TURND_TEST_MAIN=1", "HOME="+m.t.TempDir(), "XDG_RUNTIME_DIR=", "NOTIFY_SOCKET="+m.path,
		"LISTEN_FDS="+strconv.Itoa(len(m.files)), "LISTEN_FDNAMES="+strings.Join(m.names, ":"))
	cmd.ExtraFiles, cmd.Stderr = m.files, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = cmd.Process.Kill() })
	var ready readiness
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || json.Unmarshal([]byte(line), &ready) != nil {
		m.t.Fatalf("printed %q, %v", line, err)
	}
	go io.Copy(io.Discard, out)
	m.hear("READY=1")
	return cmd, ready
}

// A restart keeps the listeners: who asks while nothing runs is answered by the next process, from the same queue.
func TestRestartKeepsListeners(t *testing.T) {
	m := newManager(t)
	args := onLoopback(t)
	first, ready := m.start(args...)
	if len(m.names) < 2 {
		t.Fatalf("stored %q, want sockets over UDP and TCP", m.names)
	}
	kept := len(m.names)
	if err := first.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if text := m.hear("RELOADING=1"); !strings.Contains(text, "MONOTONIC_USEC=") {
		t.Errorf("said %q", text)
	}
	m.hear("READY=1")
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ends(t, first)

	request := func(conn net.Conn) {
		t.Helper()
		b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
		if _, err := conn.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	var waiting []net.Conn
	for range 8 { // several, so that each of the sockets of the address has some
		conn, err := net.Dial("udp", ready.UDP[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request(conn)
		waiting = append(waiting, conn)
	}
	conn, err := net.Dial("tcp", ready.TCP[0].String())
	if err != nil {
		t.Fatalf("nobody listens while the program is away: %v", err)
	}
	defer conn.Close()
	request(conn)
	waiting = append(waiting, conn)

	for i, arg := range args { // the ports that were found
		switch {
		case arg == "--listen-udp":
			args[i+1] = ready.UDP[0].String()
		case arg == "--listen-tcp":
			args[i+1] = ready.TCP[0].String()
		}
	}
	second, again := m.start(args...)
	if again.UDP[0] != ready.UDP[0] || again.TCP[0] != ready.TCP[0] {
		t.Errorf("listens on %v and %v, want %v and %v", again.UDP, again.TCP, ready.UDP, ready.TCP)
	}
	for i, conn := range waiting {
		b := make([]byte, 1500)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("client %d, %v: %v", i, conn.LocalAddr().Network(), err)
		}
		if msg, err := stun.Parse(b[:n]); err != nil || msg.Type().Class != stun.ClassSuccess {
			t.Errorf("client %d got %x, %v", i, b[:n], err)
		}
	}
	if len(m.names) != kept {
		t.Errorf("%d sockets are stored, want %d: %q", len(m.names), kept, m.names)
	}
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ends(t, second)

	// A listener that the configuration has no more is given back.
	third, _ := m.start(onLoopback(t)...)
	forgotten := 0
	for _, text := range m.said {
		if strings.HasPrefix(text, "FDSTOREREMOVE=1\n") {
			forgotten++
		}
	}
	if forgotten != kept {
		t.Errorf("%d of %d sockets are given back", forgotten, kept)
	}
	if err := third.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ends(t, third)
}

// Sockets of a .socket unit stand in the place of the configured addresses of their transport.
func TestSocketActivation(t *testing.T) {
	m := newManager(t)
	udp, at := listenPeer(t, "127.0.0.1")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, socket := range map[string]interface{ File() (*os.File, error) }{
		"turnd.socket": udp, "stun": tcp.(*net.TCPListener), "turnd-tls": secure.(*net.TCPListener),
	} {
		file, err := socket.File()
		if err != nil {
			t.Fatal(err)
		}
		m.names, m.files = append(m.names, name), append(m.files, file)
	}
	cert, key := writeCertificate(t, t.TempDir(), 1)
	cmd, ready := m.start(onLoopback(t, "--listen-tls", "127.0.0.1:0", "--cert", cert, "--key", key)...)
	if ready.UDP[0] != at || ready.TCP[0].String() != tcp.Addr().String() || ready.TLS[0].String() != secure.Addr().String() {
		t.Errorf("listens on %v %v %v, want %v %v %v", ready.UDP, ready.TCP, ready.TLS, at, tcp.Addr(), secure.Addr())
	}
	for _, l := range []io.Closer{udp, tcp, secure} {
		l.Close() // ours: the program has its own
	}
	c := dialUDP(t, at)
	c.allocate()
	if exit, out, errOut := command(t, "check", "turns:u@"+ready.TLS[0].String(), "--pass", "p", "--ca", cert, "--family", "4", "--no-data"); exit != 0 {
		t.Errorf("over TLS: exit code %d, %s%s", exit, out, errOut)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ends(t, cmd)
}
