package main

import (
	"strings"
	"testing"
)

// Secrets go from every bundle; ids and names where that is asked for, each to the same word everywhere.
func TestRedact(t *testing.T) {
	const id = "25NJQAM-CWEFLPM-VKL73J4-SZAHHIT-HOC4XT3-KTCGJNJ-PAINGR5-YHKENAI"
	secrets := &redactor{ids: map[string]string{}}
	for in, want := range map[string]string{
		"join TRV1AEABCDEFGHIJKLMNOPQRSTUVWXYZ234567 now":                "join TRV1(hidden) now",
		"turn:u:hunter2@relay.example:3478":                              "turn:u:(hidden)@relay.example:3478",
		"turn:u@relay.example:3478?transport=tcp":                        "turn:u@relay.example:3478?transport=tcp",
		`level=INFO password="a b" next=1`:                               "level=INFO password=(hidden) next=1",
		"-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n": "(hidden key)\n",
		"bob is " + id: "bob is " + id,
	} {
		if got := secrets.text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	r := &redactor{ids: map[string]string{}, names: map[string]string{}}
	r.hide("CONTACT", "bob")
	r.hide("CONTACT", "bobby")
	r.hide("CONTACT", "a")
	r.hide("DEVICE", "desk")
	r.hide("FILE", "report.pdf")
	for in, want := range map[string]string{
		"bob:desk has bobby and bobbing": "CONTACT-1:DEVICE-1 has CONTACT-2 and bobbing",
		"a":                              "CONTACT-3",
		"a:desk":                         "CONTACT-3:DEVICE-1",
		"a file":                         "a file",
		"/home/x/report.pdf":             "/home/x/FILE-1",
		"x " + id + ", 25NJQAM":          "x ID-1, ID-1",
		strings.ReplaceAll(id, "-", ""):  "ID-1",
		"turn:user@192.0.2.1:3478":       "turn:USER@192.0.2.1:3478",
		"127.0.0.1:4001 by DIRECT_LAN":   "127.0.0.1:4001 by DIRECT_LAN",
	} {
		if got := r.text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	out, err := r.object([]byte(`{"bob":"bob","n":9007199254740993,"list":[{"name":"desk"}]}`))
	if want := "{\n  \"bob\": \"CONTACT-1\",\n  \"list\": [\n    {\n      \"name\": \"DEVICE-1\"\n    }\n  ],\n  \"n\": 9007199254740993\n}\n"; err != nil || string(out) != want {
		t.Errorf("got %s, %v", out, err)
	}
}
