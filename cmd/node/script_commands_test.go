package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"traverse.internal/daemon"
)

// patience bounds what a script waits for. Each of these takes milliseconds on an idle machine.
const patience = 60 * time.Second

// quickExit is how soon a node or a relay is gone after SIGTERM, whatever it was doing.
const quickExit = 2 * time.Second

// waitup HOME: until the daemon there answers.
func cmdWaitUp(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := daemon.WaitUp(ctx, daemon.HomeAt(ts.MkAbs(args[0]))); err != nil {
		ts.Fatalf("waitup %s: %v", args[0], err)
	}
}

// waitsocket PATH: until a daemon answers on the socket.
func cmdWaitSocket(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := daemon.WaitUp(ctx, daemon.Home{Socket: ts.MkAbs(args[0])}); err != nil {
		ts.Fatalf("waitsocket %s: %v", args[0], err)
	}
}

// waitport ADDR: until something accepts TCP there.
func cmdWaitPort(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(patience)
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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

// down NAME: SIGTERM to the node that runs in the home NAME, or to the running program NAME; it is gone quickly. `wait` then checks its exit code.
func cmdDown(ts *testscript.TestScript, _ bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		isNode := strings.Contains(strings.Join(cmd.Args, " ")+" ", " --home "+args[0]+" up ")
		if !isNode && filepath.Base(cmd.Path) != args[0] || cmd.Process.Signal(syscall.SIGTERM) != nil {
			continue
		}
		deadline := time.Now().Add(quickExit)
		for cmd.Process.Signal(syscall.Signal(0)) == nil {
			if time.Now().After(deadline) {
				_ = cmd.Process.Signal(syscall.SIGQUIT) // its stacks
				ts.Fatalf("%s still runs %v after SIGTERM", args[0], quickExit)
			}
			<-time.After(5 * time.Millisecond)
		}
		return
	}
	ts.Fatalf("nothing runs as %s", args[0])
}

// terminate NAME: SIGTERM to the node that runs in the home NAME, which may take its time.
func cmdTerminate(ts *testscript.TestScript, _ bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " ")+" ", " --home "+args[0]+" up ") && cmd.Process.Signal(syscall.SIGTERM) == nil {
			return
		}
	}
	ts.Fatalf("nothing runs as %s", args[0])
}

// awaitdraining HOME: until the node says that it drains.
func cmdAwaitDraining(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(args[0])).Socket)
	for {
		s, err := c.Status(ctx)
		ts.Check(err)
		if s.Draining != nil {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// await HOME STATE: until the home's newest transfer is in the state, and bytes have moved where the state is about that.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(args[0])).Socket)
	seen := "nothing"
	for {
		list, err := c.Transfers(ctx)
		if err != nil {
			ts.Fatalf("await %s %s: %v; last seen: %s", args[0], args[1], err, seen)
		}
		if n := len(list.Transfers); n > 0 {
			last := list.Transfers[n-1]
			seen = fmt.Sprint(last.State, " ", last.Error)
			moves := last.State == daemon.StateSending || last.State == daemon.StateReceiving
			if string(last.State) == args[1] && (last.Bytes > 0 || !moves) {
				return
			}
		}
		<-time.After(5 * time.Millisecond)
	}
}

// httpget URL: what is there becomes stdout.
func cmdHTTPGet(ts *testscript.TestScript, _ bool, args []string) {
	client := http.Client{Timeout: patience}
	res, err := client.Get(args[0])
	ts.Check(err)
	defer res.Body.Close()
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
}

// awaitverified HOME ID: until the digests of the transfer's files are known there.
func cmdAwaitVerified(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(args[0])).Socket)
	for {
		_, err := c.Verify(ctx, args[1])
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			ts.Fatalf("awaitverified: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
