package metrics

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// start serves on a free port until the test ends, and returns the address.
func start(t *testing.T, src Sources) (*Server, string) {
	t.Helper()
	s, err := Listen("127.0.0.1:0", src)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, s.Addr().String()
}

func request(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// TestServe: GET /metrics and nothing else.
func TestServe(t *testing.T) {
	_, addr := start(t, Sources{Program: "node"})
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/metrics", 200},
		{"HEAD", "/metrics", 200},
		{"POST", "/metrics", 405},
		{"GET", "/", 404},
		{"GET", "/metrics/", 404},
		{"GET", "/debug/pprof/", 404},
		{"GET", "//metrics/../../etc/passwd", 307}, // to the cleaned path, which is 404
	} {
		status, body := request(t, test.method, "http://"+addr+test.path)
		if status != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, status, test.status)
		}
		if test.method == "GET" && status == 200 && !strings.Contains(body, `build_info{`) {
			t.Errorf("no build_info in %.200q", body)
		}
	}
}

func TestPortInUse(t *testing.T) {
	_, addr := start(t, Sources{})
	_, err := Listen(addr, Sources{})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"127.0.0.1", "127.0.0.1:99999", "nonsense"} {
		if s, err := Listen(bad, Sources{}); err == nil {
			s.Close()
			t.Errorf("Listen(%q) succeeded", bad)
		}
	}
}

// TestGarbage: whatever comes to the port, the next scrape works.
func TestGarbage(t *testing.T) {
	_, addr := start(t, Sources{})
	for _, garbage := range []string{
		"\x00\x01\x00\x00!\x12\xa4B",
		"\x16\x03\x01\x02\x00\x01",
		"GET /metrics HTTP/9.9\r\n\r\n",
		"GET " + strings.Repeat("/", 1<<20) + " HTTP/1.1\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100) + "\r\n",
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, garbage) // an early close of the server's is an answer too
		c.(*net.TCPConn).CloseWrite()
		if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && strings.Contains(line, "200") {
			t.Errorf("%.20q was answered %q", garbage, line)
		}
		c.Close()
	}
	if status, _ := request(t, "GET", "http://"+addr+"/metrics"); status != 200 {
		t.Errorf("status %d after the garbage", status)
	}
}

// TestIdleConnectionsDoNotBlockTheEnd: Serve returns although somebody keeps a
// connection open, in the middle of a request too.
func TestIdleConnectionsDoNotBlockTheEnd(t *testing.T) {
	s, err := Listen("127.0.0.1:0", Sources{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	for range maxConns + 2 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /metr")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	s.Close() // after Serve it does nothing
}

// Probes: live while it serves, ready unless the program says why not.
func TestLiveAndReady(t *testing.T) {
	var why atomic.Value
	srv, err := Listen("127.0.0.1:0", Sources{Program: "turnd", Ready: func() error {
		err, _ := why.Load().(error)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx) }()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + srv.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, _ := get("/ready"); code != 200 {
		t.Errorf("ready: %d", code)
	}
	why.Store(errors.New("draining"))
	if code, body := get("/ready"); code != 503 || body != "draining\n" {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, _ := get("/live"); code != 200 {
		t.Errorf("live: %d", code)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
