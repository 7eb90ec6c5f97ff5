package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/core/turnclient"
)

// What the endpoint mints lets in, and a reload changes its tokens with the secrets.
func TestMintedCredentialsLetIn(t *testing.T) {
	dir := t.TempDir()
	secret, tokens := filepath.Join(dir, "secret"), filepath.Join(dir, "tokens")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "first")
	write(tokens, "token-of-16-characters")
	r := start(t, "--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0", "--relay-ip4", "127.0.0.1", "--auth-secret-file", secret,
		"--mint-listen", "127.0.0.1:0", "--mint-token-file", tokens, "--mint-uris", "turn:127.0.0.1:3478?transport=tcp", "--mint-ttl", "2m",
		"--admin-socket", filepath.Join(dir, "admin"))
	ask := func(token string) (int, turnclient.Config) {
		t.Helper()
		q, _ := http.NewRequest("GET", "http://"+r.ready.Mint+"/?service=turn&username=anna", nil)
		q.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var got struct {
			Username, Password string
			TTL                int
		}
		_ = json.NewDecoder(answer.Body).Decode(&got)
		if answer.StatusCode == 200 && got.TTL != 120 {
			t.Errorf("ttl %d, want 120", got.TTL)
		}
		return answer.StatusCode, turnclient.Config{Server: r.ready.TCP[0], Username: got.Username, Password: got.Password}
	}
	enter := func(c turnclient.Config) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		client, err := turnclient.Dial(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Allocate(ctx, turnclient.IPv4); err != nil {
			t.Errorf("allocate: %v", err)
		}
	}
	code, old := ask("token-of-16-characters")
	if code != 200 {
		t.Fatalf("asked: %d", code)
	}
	enter(old)
	write(secret, "second\nfirst")
	write(tokens, "another-of-16-characters")
	if exit, _, stderr := command(t, "reload", "--json", "--admin-socket", filepath.Join(dir, "admin")); exit != 0 {
		t.Fatalf("reload: %d %s", exit, stderr)
	}
	if code, _ := ask("token-of-16-characters"); code != 401 {
		t.Errorf("the old token: %d", code)
	}
	code, fresh := ask("another-of-16-characters")
	if code != 200 || fresh.Password == old.Password {
		t.Fatalf("the new token: %d", code)
	}
	enter(fresh)
	enter(old) // its secret is still there
}
