package interop

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"testing"
	"time"

	"traverse.internal/internal/loopback"
)

//go:embed testdata/relay.html
var relayPage []byte

// result is what the page says of one server.
type result struct {
	Server string   `json:"server"`
	OK     bool     `json:"ok"`
	Bytes  int      `json:"bytes"`
	Kinds  []string `json:"kinds"` // of its candidates
	Errors []string `json:"errors"`
}

// Two peer connections of a browser that may only relay move a megabyte over a data channel, through our server over every
// transport that the browser speaks, in both families.
func TestChromium(t *testing.T) {
	loopback.Need(t, "chromium", "chromium")
	t.Parallel()
	s := serve(t)
	plain, secured := s.UDPAddrs()[0].Port(), s.TLSAddrs()[0].Port()
	var servers []string
	for _, ip := range []netip.Addr{loopback.IP4, loopback.IP6} {
		servers = append(servers,
			fmt.Sprintf("turn:%v?transport=udp", netip.AddrPortFrom(ip, plain)),
			fmt.Sprintf("turn:%v?transport=tcp", netip.AddrPortFrom(ip, plain)),
			fmt.Sprintf("turns:%v?transport=tcp", netip.AddrPortFrom(ip, secured)))
	}
	results := make(chan result, len(servers))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(relayPage) })
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		var got result
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err := json.Unmarshal(body, &got); err != nil {
			got.Errors = []string{err.Error()}
		}
		results <- got
	})
	web := httptest.NewServer(mux)
	defer web.Close()
	loopback.Start(t, exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--allow-loopback-in-peer-connection", "--ignore-certificate-errors", "--user-data-dir="+t.TempDir(),
		web.URL+"/?"+url.Values{"server": servers}.Encode()))
	for _, server := range servers {
		t.Run(server, func(t *testing.T) {
			select {
			case got := <-results:
				if got.Server != server || !got.OK || got.Bytes != 1<<20 {
					t.Errorf("got %+v", got)
				}
				if slices.ContainsFunc(got.Kinds, func(k string) bool { return k != "relay" }) || len(got.Kinds) < 2 {
					t.Errorf("candidates %q, want relay alone", got.Kinds)
				}
			case <-time.After(patience):
				t.Fatal("the browser says nothing")
			}
		})
	}
}
