package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
)

func TestConformance(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	start(t, onLoopback(t, "--listen-udp", at, "--listen-tcp", at, "--strict-channels")...)
	url := "turn:u@" + at
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string
	}{
		{"passes", []string{url, "--pass", "p", "--only", "3,13"}, 0, []string{"   3 pass  ", "  13 pass  ", "2 of 2 pass, 0 fail, 0 skipped"}},
		{"skips", []string{url, "--pass", "p", "--only", "64,28"}, 0, []string{"--long", "--other-user"}},
		{"fails", []string{url, "--pass", "p", "--only", "58"}, 18, []string{"  58 fail  ", "expected a port from 49152 on"}},
		{"wrong password", []string{url, "--pass", "wrong"}, 10, []string{"error: ", "401", "try:   "}},
		{"nobody there", []string{"turn:u@127.0.0.1:1", "--pass", "p", "--timeout", "200ms"}, 9, []string{"no TURN server answers"}},
		{"wrong realm", []string{url, "--pass", "p", "--realm", "other"}, 2, []string{`expected realm "other"`}},
		{"no such number", []string{url, "--pass", "p", "--only", "122"}, 2, []string{"no check 122"}},
		{"no TLS there", []string{"turns:u@" + at, "--pass", "p"}, 9, []string{"no TURN server answers"}},
		{"no DTLS there", []string{"turns:u@" + at + "?transport=udp", "--pass", "p", "--timeout", "200ms"}, 9, []string{"no TURN server answers"}},
		{"one transport", []string{url + "?transport=tcp", "--pass", "p"}, 2, []string{"over UDP and TCP"}},
		{"unseen", []string{url, "--pass", "p", "--only", "59"}, 0, []string{"  59 unseen", "1 cannot be seen"}},
		{"no such file", []string{"turns:u@" + at, "--pass", "p", "--ca", "/nonexistent"}, 2, []string{"--ca /nonexistent"}},
		{"no peer", []string{url, "--pass", "p", "--peer", "here"}, 2, []string{"is no address"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exit, out, errOut := command(t, append([]string{"conformance"}, c.args...)...)
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

	_, out, _ := command(t, "conformance", url, "--pass", "p", "--only", "13", "--json")
	var got struct {
		Schema, Kind            string
		Passed, Failed, Skipped int
		Results                 []struct {
			Number         int
			Ref, Must      string
			Status, Detail string
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if got.Kind != "conformance" || got.Passed != 1 || len(got.Results) != 1 || got.Results[0].Number != 13 || got.Results[0].Status != "pass" {
		t.Errorf("got %+v", got)
	}
}
