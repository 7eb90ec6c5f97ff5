package daemon

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/internal/cli"
)

// upAlone runs a daemon that knows nobody, on loopback, until the test ends.
func upAlone(t *testing.T) Home {
	t.Helper()
	h := newHome(t, "alone")
	cfg := Config{Home: h, Name: "alone"}
	cfg.DHT.Private, cfg.DHT.Listen = true, netip.MustParseAddrPort("127.0.0.1:0")
	serve(t, cfg)
	return h
}

// TestBadRequests: whatever a broken program sends to the socket, it gets one object that says what is wrong.
func TestBadRequests(t *testing.T) {
	h := upAlone(t)
	c := NewClient(h.Socket)
	for _, r := range []struct {
		what, method, path, body string
		status                   int
		code                     string // of the error; "" where the answer is not ours
	}{
		{"no such resource", "GET", "/v2/status", "", http.StatusNotFound, ""},
		{"wrong method", "DELETE", "/v1/transfers", "", http.StatusMethodNotAllowed, ""},
		{"no body", "POST", "/v1/transfers", "", 422, "E_USAGE"},
		{"not JSON", "POST", "/v1/transfers", "{", 422, "E_USAGE"},
		{"unknown field", "POST", "/v1/contacts", `{"name":"x","device":"y","colour":"z"}`, 422, "E_USAGE"},
		{"another type", "POST", "/v1/contacts", `{"name":1}`, 422, "E_USAGE"},
		{"larger than a request is", "POST", "/v1/contacts", `{"name":"` + strings.Repeat("x", maxRequestBody) + `"}`, 422, "E_USAGE"},
		{"a relative path", "POST", "/v1/transfers", `{"paths":["x"],"peer":"y"}`, 422, "E_USAGE"},
		{"nobody's name", "POST", "/v1/transfers", `{"paths":["/x"],"peer":"y"}`, 422, "E_PEER_UNKNOWN"},
		{"no such transfer", "GET", "/v1/transfers/t-x?wait=1h&after=done", "", 422, "E_USAGE"},
		{"no such offer", "POST", "/v1/inbox/%00/accept", "", 422, "E_USAGE"},
		{"a path for an id", "POST", "/v1/transfers/..%2f..%2fetc/cancel", "", 422, "E_USAGE"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, "http://node"+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.http.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", r.what, err)
		}
		raw, _ := io.ReadAll(res.Body)
		res.Body.Close()
		var got struct{ Error *cli.Error }
		if res.StatusCode != r.status || r.code != "" && (json.Unmarshal(raw, &got) != nil || got.Error == nil || got.Error.Code != r.code) {
			t.Errorf("%s: %s %s, want %d and %s", r.what, res.Status, raw, r.status, r.code)
		}
	}
	if s, err := c.Status(t.Context()); err != nil || s.Device.Name != "alone" || len(s.Transfers) > 0 {
		t.Errorf("after all of them: %+v, %v", s, err)
	}
}

// TestSilentClients: connections that say nothing keep neither others from being served nor the daemon from ending.
func TestSilentClients(t *testing.T) {
	h := upAlone(t)
	for range 20 {
		conn, err := net.Dial("unix", h.Socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	if _, err := NewClient(h.Socket).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListenSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "node.sock")
	l, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if second, err := listenSocket(path); err == nil {
		second.Close()
		t.Error("a socket where somebody listens was taken away")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if l, err = listenSocket(path); err != nil {
		t.Fatalf("a socket that a dead process left: %v", err)
	}
	l.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(file); err == nil {
		t.Error("listening on a file")
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "x" {
		t.Errorf("the file is %q now, %v", got, err)
	}
	if _, err := listenSocket(filepath.Join(dir, strings.Repeat("x", 108))); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("a path that is too long: %v", err)
	}
}

// TestAskWithoutDaemon: the client's errors tell a daemon that is not there from one that does not answer.
func TestAskWithoutDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.sock")
	exit := func(ctx context.Context) int {
		_, err := NewClient(path).Status(ctx)
		e, ok := err.(*cli.Error)
		if !ok {
			t.Fatalf("err = %v, want a *cli.Error", err)
		}
		return e.Exit
	}
	if got := exit(t.Context()); got != cli.ExitNoDaemon {
		t.Errorf("no socket: exit code %d, want %d", got, cli.ExitNoDaemon)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got := exit(late); got != cli.ExitTimeout {
		t.Errorf("no answer: exit code %d, want %d", got, cli.ExitTimeout)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := exit(gone); got != cli.ExitInterrupted {
		t.Errorf("interrupted: exit code %d, want %d", got, cli.ExitInterrupted)
	}
}
