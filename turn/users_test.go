package turn

import (
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// as logs in under a name.
func as(t *testing.T, s *Server, name, password string) *testClient {
	t.Helper()
	c := dialUDP(t, s)
	c.user, c.pass = name, password
	return c.login()
}

func TestUsersByKey(t *testing.T) {
	s := startServer(t, func(c *Config) {
		c.Users = nil
		c.Keys = map[string]Keys{"k": DeriveKeys("k", "test", "p"), "elsewhere": DeriveKeys("elsewhere", "other realm", "p")}
	})
	for _, c := range []struct {
		name, password string
		want           stun.ErrorCode
	}{
		{"k", "p", 0},
		{"k", "q", stun.CodeUnauthenticated},
		{"elsewhere", "p", stun.CodeUnauthenticated},
	} {
		if got := as(t, s, c.name, c.password).code(stun.MethodAllocate, wantUDP); got != c.want {
			t.Errorf("%s with %s: got %v, want %v", c.name, c.password, got, c.want)
		}
	}
}

// A pair that other implementations make too.
func TestMint(t *testing.T) {
	name, password := Mint("north", "alice", time.Unix(1700000000, 0))
	// printf 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64
	if want := "Cd/49soE35ICqcJF/bCTn8Z4OyE="; name != "1700000000:alice" || password != want {
		t.Errorf("got %s and %s, want %s", name, password, want)
	}
}

func TestTimeLimitedCredentials(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Secrets = []string{"new", "old"} })
	soon, past := time.Now().Add(time.Minute), time.Now().Add(-time.Minute)
	mint := func(secret string, at time.Time) *testClient {
		name, password := Mint(secret, "alice", at)
		return as(t, s, name, password)
	}
	for _, c := range []struct {
		name   string
		client *testClient
		want   stun.ErrorCode
	}{
		{"of the new secret", mint("new", soon), 0},
		{"of the old one", mint("old", soon), 0},
		{"of no secret", mint("other", soon), stun.CodeUnauthenticated},
		{"expired", mint("new", past), stun.CodeUnauthenticated},
		{"without an expiry", as(t, s, "alice:x", restPassword("new", "alice:x")), stun.CodeUnauthenticated},
		{"a static user", as(t, s, "u", "p"), 0},
	} {
		if got := c.client.code(stun.MethodAllocate, wantUDP); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if n := s.Stats().AuthFailures["expired"]; n != 1 {
		t.Errorf("%d counted as expired, want 1", n)
	}
	for _, session := range s.Sessions() {
		if session.User != "alice" && session.User != "u" {
			t.Errorf("a session of %q", session.User)
		}
	}
}

// Credentials that expire do not end what they began, and a renewed pair goes on with it.
func TestExpiredCredentialsRefresh(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Secrets = []string{"secret"} })
	name, password := Mint("secret", "alice", time.Now().Add(time.Minute))
	c := as(t, s, name, password)
	c.allocate()
	s.skew.Store(int64(2 * time.Minute))
	if got := c.code(stun.MethodRefresh); got != 0 {
		t.Errorf("refresh after the expiry: %v", got)
	}
	c.user, c.pass = Mint("secret", "alice", time.Now().Add(time.Hour))
	if got := c.code(stun.MethodRefresh); got != 0 {
		t.Errorf("refresh with renewed credentials: %v", got)
	}
	c.user, c.pass = Mint("secret", "bob", time.Now().Add(time.Hour))
	c.stranger = true
	if got := c.code(stun.MethodRefresh); got != stun.CodeWrongCredentials {
		t.Errorf("refresh by another: got %v, want 441", got)
	}
}
