package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestBench loads a server of the test's, briefly, over both transports, and reads what it says.
func TestBench(t *testing.T) {
	ready := start(t, onLoopback(t, "--allow-peer", "127.0.0.0/8")...).ready
	udp, tcp := "turn:u@"+ready.UDP[0].String(), "turn:u@"+ready.TCP[0].String()
	refusing := start(t, onLoopback(t, "--deny-peer", "127.0.0.0/8")...).ready
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string
	}{
		{"channels", []string{udp, "--pass", "p", "--flows", "3"}, 0, []string{"udp  ", "throughput", "lost", "latency"}},
		{"at a rate", []string{udp, "--pass", "p", "--rate", "500", "--size", "1200"}, 0, []string{"500 a second", "1200 bytes"}},
		{"connections", []string{tcp, "--pass", "p", "--tcp", "--flows", "2"}, 0, []string{"tcp  ", "lost         0 of"}},
		{"wrong password", []string{udp, "--pass", "wrong"}, 10, []string{"refuses the user"}},
		{"not a peer", []string{"turn:u@" + refusing.UDP[0].String(), "--pass", "p"}, 17, []string{"allow_peer"}},
		{"too many", []string{udp, "--pass", "p", "--flows", "1001"}, 2, []string{"1 to 1000"}},
		{"too long", []string{udp, "--pass", "p", "--duration", "1h"}, 2, []string{"4m"}},
		{"over TLS", []string{"turns:u@127.0.0.1", "--pass", "p"}, 2, []string{"only turn:"}},
		{"no user", []string{"turn:127.0.0.1", "--pass", "p"}, 2, []string{"--user"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"bench"}, c.args...)
			if c.exit == 0 {
				args = append(args, "--duration", "200ms")
			}
			exit, out, errOut := command(t, args...)
			if exit != c.exit {
				t.Errorf("exit code %d, want %d", exit, c.exit)
			}
			for _, want := range c.want {
				if !strings.Contains(out+errOut, want) {
					t.Errorf("%q is missing from\n%s%s", want, out, errOut)
				}
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		_, out, _ := command(t, "bench", udp, "--pass", "p", "--duration", "100ms", "--json")
		var got benched
		if err := json.Unmarshal([]byte(out), &got); err != nil || got.Kind != "bench" || got.Received == 0 || got.LatencyMS.Max <= 0 {
			t.Errorf("%v: %s", err, out)
		}
	})
}
