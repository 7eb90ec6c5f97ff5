package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A user who was added by the program, and credentials that it minted, work at a server that it runs.
func TestUsersAndCredentials(t *testing.T) {
	dir := t.TempDir()
	users, secret := filepath.Join(dir, "users.txt"), filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("new\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := []string{"--users-file", users, "--realm", "bench.local"}
	turnd := func(want int, args ...string) string {
		t.Helper()
		exit, out, errOut := command(t, args...)
		if exit != want {
			t.Fatalf("turnd %v: exit code %d, want %d: %s", args, exit, want, errOut)
		}
		return out + errOut
	}
	with := func(args ...string) []string { return append(args, file...) }
	var added, minted struct{ Username, Password string }
	if err := json.Unmarshal([]byte(turnd(0, with("user", "add", "alice", "--generate", "--json")...)), &added); err != nil {
		t.Fatal(err)
	}
	turnd(0, with("user", "add", "bob", "--pass-file", usersFile(t, "secret word\n", 0o600))...)
	turnd(0, with("user", "add", "carol", "--generate")...)
	turnd(0, with("user", "rm", "carol")...)
	turnd(2, with("user", "rm", "carol")...)
	turnd(2, with("user", "add", "with:colon", "--generate")...)
	turnd(2, "user", "ls")
	if got := turnd(0, with("user", "ls", "--json")...); got != `{"schema":"turnd.v1","kind":"users","users":["alice","bob"],"plain":0}`+"\n" {
		t.Errorf("got %s", got)
	}
	if content, _ := os.ReadFile(users); strings.Contains(string(content), "secret word") || strings.Contains(string(content), added.Password) {
		t.Error("the file has a password")
	}
	if err := json.Unmarshal([]byte(turnd(0, "cred", "mint", "--user", "dave", "--auth-secret-file", secret, "--json")), &minted); err != nil {
		t.Fatal(err)
	}
	turnd(2, "cred", "mint", "--auth-secret-file", secret, "--ttl", "0s")
	r := start(t, onLoopback(t, append(file, "--auth-secret-file", secret)...)...)
	for _, c := range []struct {
		user, password string
		exit           int
	}{{"alice", added.Password, 0}, {"bob", "secret word", 0}, {"bob", "x", 10}, {minted.Username, minted.Password, 0}, {"carol", "x", 10}} {
		url := "turn:" + r.ready.TCP[0].String()
		turnd(c.exit, "check", url, "--user", c.user, "--pass", c.password, "--tcp", "--family", "4", "--no-data")
	}
	r.stop()
	// The keys are good for one realm.
	if got := turnd(3, "run", "--users-file", users, "--realm", "other", "--relay-ip4", "127.0.0.1"); !strings.Contains(got, `made for the realm "bench.local"`) {
		t.Errorf("got %s", got)
	}
}

func TestPlainPasswordsAreWarnedOf(t *testing.T) {
	r := start(t, onLoopback(t)...)
	r.stop()
	if !strings.Contains(r.stderr.String(), "turnd user add") {
		t.Errorf("no warning in %s", r.stderr)
	}
}
