package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"traverse.internal/internal/loopback"
)

// scriptCondition has [mount], whether a file system can be mounted here, and [root].
func scriptCondition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "mount":
		dir, err := os.MkdirTemp("", "mount")
		if err != nil {
			return false, err
		}
		defer os.Remove(dir)
		if syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k") != nil {
			return false, nil
		}
		return true, syscall.Unmount(dir, 0)
	}
	return false, fmt.Errorf("no condition %q", name)
}

// tinydisk DIR BYTES: mounts a file system of that size until the script ends.
func cmdTinyDisk(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// freeport VAR...: ports that are free for UDP and TCP on loopback, and given to no other test before the script ends.
func cmdFreePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		port, release, err := loopback.Reserve(loopback.IP4)
		ts.Check(err)
		ts.Defer(release)
		ts.Setenv(name, strconv.Itoa(int(port)))
	}
}

// randfile NAME BYTES: a file that no two runs share.
func cmdRandFile(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	_, err = io.CopyN(f, rand.Reader, n)
	ts.Check(err)
}

// holdport VAR: another program listens there, on UDP and TCP, until the script ends.
func cmdHoldPort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	u, err := net.ListenPacket("udp", l.Addr().String())
	ts.Check(err)
	ts.Defer(func() { u.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// sparse NAME BYTES: a file of zeros that takes no space here.
func cmdSparse(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, nil, 0o644))
	ts.Check(os.Truncate(path, n))
}

// mistype VAR DEVICE_ID: the id with one letter wrong.
func cmdMistype(ts *testscript.TestScript, _ bool, args []string) {
	id := []byte(args[1])
	id[3] = "AB"[strings.Count(string(id[3]), "A")]
	ts.Setenv(args[0], string(id))
}

// garbage NETWORK ADDR: nonsense to a port, several kinds of it.
func cmdGarbage(ts *testscript.TestScript, _ bool, args []string) {
	address := args[1]
	if args[0] == "unix" {
		address = ts.MkAbs(address)
	}
	long := make([]byte, 4096)
	_, _ = rand.Read(long)
	for _, junk := range [][]byte{long, {0}, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0xff}, 1000), {0x16, 3, 1, 0xff, 0xff}, []byte("d1:q3:put1:t2:aa1:y1:qe")} {
		c, err := net.Dial(args[0], address)
		ts.Check(err)
		_, _ = c.Write(junk)
		c.Close()
	}
}
