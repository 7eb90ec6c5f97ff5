package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"traverse.internal/daemon"
)

// TestMain makes the program itself a command of the scripts, so that each `exec node` is a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"node": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
		},
	})
}

// The scripts are the commands as a user types them; they double as documentation.
func TestScripts(t *testing.T) {
	turnd := buildTurnd(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TURND", turnd)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitup":   cmdWaitUp,
			"waitport": cmdWaitPort,
			"deviceid": cmdDeviceID,
			"freeport": cmdFreePort,
			"randfile": cmdRandFile,
			"field":    cmdField,
			"offerid":  cmdOfferID,
			"garbage":  cmdGarbage,
			"exit":     cmdExit,
		},
	})
}

// buildTurnd builds the other program once, for the scripts that want a relay.
func buildTurnd(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "turnd")
	if out, err := exec.Command("go", "build", "-o", bin, "traverse.internal/cmd/turnd").CombinedOutput(); err != nil {
		t.Fatalf("build turnd: %v\n%s", err, out)
	}
	return bin
}

// waitup HOME: until the daemon there answers.
func cmdWaitUp(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := daemon.WaitUp(ctx, daemon.HomeAt(ts.MkAbs(args[0]))); err != nil {
		ts.Fatalf("waitup %s: %v", args[0], err)
	}
}

// waitport ADDR: until something accepts TCP there.
func cmdWaitPort(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.Dial("tcp", args[0])
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waitport %s: %v", args[0], err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// deviceid VAR HOME: the home's device id.
func cmdDeviceID(ts *testscript.TestScript, _ bool, args []string) {
	id, err := daemon.Identity(daemon.HomeAt(ts.MkAbs(args[1])))
	ts.Check(err)
	ts.Setenv(args[0], id.DeviceID)
}

// freeport VAR...: ports that are free for UDP and TCP on loopback now.
func cmdFreePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close() // held until all are chosen, so that they differ
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
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

// field PATH VALUE: the last stdout is one JSON object whose field (dotted path, numbers index arrays) has the value.
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	var object any
	raw := ts.ReadFile("stdout")
	if err := json.Unmarshal([]byte(raw), &object); err != nil {
		ts.Fatalf("stdout is not one JSON object: %v\n%s", err, raw)
	}
	got := lookup(object, args[0])
	if text := fmt.Sprint(got); (text == args[1]) == neg {
		ts.Fatalf("field %s is %q, want %q (negated: %v)\n%s", args[0], text, args[1], neg, raw)
	}
}

func lookup(object any, path string) any {
	for _, key := range strings.Split(path, ".") {
		switch o := object.(type) {
		case map[string]any:
			object = o[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(o) {
				return nil
			}
			object = o[i]
		default:
			return nil
		}
	}
	if f, ok := object.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return object
}

// offerid VAR HOME: the id of the one offer in the home's inbox, once there is one.
func cmdOfferID(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(args[1])).Socket)
	for {
		list, err := c.Inbox(ctx)
		ts.Check(err)
		if len(list.Transfers) > 0 {
			ts.Setenv(args[0], list.Transfers[0].ID)
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// garbage NETWORK ADDR: nonsense to a port, several kinds of it.
func cmdGarbage(ts *testscript.TestScript, _ bool, args []string) {
	long := make([]byte, 4096)
	_, _ = rand.Read(long)
	for _, junk := range [][]byte{long, {0}, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0xff}, 1000), {0x16, 3, 1, 0xff, 0xff}, []byte("d1:q3:put1:t2:aa1:y1:qe")} {
		c, err := net.Dial(args[0], args[1])
		ts.Check(err)
		_, _ = c.Write(junk)
		c.Close()
	}
}

// exit CODE ARGS...: node ends with exactly this exit code.
func cmdExit(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("node", args[1:]...)
	got := 0
	if err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("node %v: %v", args[1:], err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("node %v: exit code %d, want %s\n%s%s", args[1:], got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}
