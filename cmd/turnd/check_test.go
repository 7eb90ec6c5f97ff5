package main

import (
	"bytes"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// command runs one command to its end.
func command(t *testing.T, args ...string) (exit int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit = run(t.Context(), args, []string{"HOME=" + t.TempDir(), "TURN_PASSWORD=p"}, &stdout, &stderr)
	return exit, stdout.String(), stderr.String()
}

func TestCheck(t *testing.T) {
	ready := func(t *testing.T, args ...string) string {
		return "turn:u@" + start(t, onLoopback(t, append([]string{"--relay-ip6", "::1"}, args...)...)...).ready.UDP[0].String()
	}
	// One port for both transports makes the URL short.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	good := ready(t, "--listen-udp", at, "--listen-tcp", at)
	single := ready(t, "--relay-ip6", "")
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string
	}{
		{"works over udp and tcp", []string{good, "--pass", "p"}, 0, []string{"udp  " + at, "tcp  ipv6", "data (both ways)", "connect (relay to relay over TCP)"}},
		{"password of the environment", []string{good, "--pass", "env:TURN_PASSWORD", "--udp"}, 0, []string{"udp  ipv4"}},
		{"password of a file", []string{good, "--pass-file", usersFile(t, "p\n", 0o600), "--udp"}, 0, []string{"udp  ipv4"}},
		{"without data", []string{good, "--pass", "p", "--udp", "--no-data"}, 0, []string{"allocate"}},
		{"wrong password", []string{good, "--pass", "wrong"}, 10, []string{"error: ", "refuses the user", "why:   ", "401", "try:   "}},
		{"one family", []string{single, "--pass", "p", "--udp"}, 18, []string{"one family only", "ipv6 got 440", "try:   "}},
		{"the one family", []string{single, "--pass", "p", "--udp", "--family", "4"}, 0, nil},
		{"nobody there", []string{"turn:u@127.0.0.1:1", "--pass", "p", "--tcp"}, 9, []string{"connection refused"}},
		{"silence", []string{"turn:u@127.0.0.1:1", "--pass", "p", "--udp", "--timeout", "1s"}, 9, []string{"no TURN server answers"}},
		{"no password", []string{good}, 2, []string{"--pass-file"}},
		{"no server", []string{"http://127.0.0.1", "--pass", "p"}, 2, []string{"turn:"}},
		{"no family", []string{good, "--pass", "p", "--family", "5"}, 2, []string{"4, 6 or both"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exit, out, errOut := command(t, append([]string{"check"}, c.args...)...)
			if exit != c.exit {
				t.Errorf("exit code %d, want %d", exit, c.exit)
			}
			for _, want := range c.want {
				if !strings.Contains(out+errOut, want) {
					t.Errorf("%q is missing from\n%s%s", want, out, errOut)
				}
			}
			if n := strings.Count(errOut, "\n"); n > 3 {
				t.Errorf("%d lines of error:\n%s", n, errOut)
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		_, out, _ := command(t, "check", good, "--pass", "p", "--json")
		_, failed, _ := command(t, "check", good, "--pass", "wrong", "--json")
		golden(t, "check.json", out+failed)
	})
}

// golden compares with a file of testdata, where ports are P and times T.
func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, r := range []struct{ find, put string }{
		{`(127\.0\.0\.1|\[::1\]):\d+`, `$1:P`},
		{`_ns":\d+`, `_ns":0`},
		{`"\d{4}-\d\d-\d\dT[^"]+"`, `"T"`},
		{`"id":"[0-9a-f]+"`, `"id":"ID"`},
	} {
		got = regexp.MustCompile(r.find).ReplaceAllString(got, r.put)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What `turnd run` prints to be tried, works.
func TestCheckAsPrinted(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.1:3478"); err != nil {
		t.Skipf("another TURN server runs here: %v", err)
	} else {
		l.Close()
	}
	r := start(t)
	var result, printed bytes.Buffer // the advice is talk
	if err := (&app{stdout: &result, stderr: &printed}).announce(r.ready); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(result.String(), "client turn:") || strings.Contains(result.String(), "turnd check") {
		t.Errorf("the result is\n%s", &result)
	}
	_, line, ok := strings.Cut(printed.String(), "try    turnd ")
	if !ok {
		t.Fatalf("nothing to try in\n%s", &printed)
	}
	args := strings.Fields(line)
	if len(r.ready.UDP) == 1 { // a machine without IPv6
		args = append(args, "--family", "4")
	}
	if exit, out, errOut := command(t, args...); exit != 0 {
		t.Errorf("turnd %s: exit code %d\n%s%s", args, exit, out, errOut)
	}
}

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }
