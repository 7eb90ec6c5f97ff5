package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sample is a view with everything, some of it hostile.
func sample() View {
	var rows [][]string
	for i := range MaxRows + 7 {
		rows = append(rows, []string{fmt.Sprintf("peer-%d", i), "direct host/tcp", "DIRECT_LAN"})
	}
	return View{
		Program: "turnd", Title: "relay.example", State: "serving", OK: true,
		Facts:  []Fact{{"Allocations", "12"}, {"Up since", "an hour"}},
		Alerts: []string{"<script>document.title='broken'</script> the certificate ends soon"},
		Tables: []Table{
			{Title: "Sessions", Columns: []string{"Peer", "Path", "Reason"}, Rows: rows, Empty: "none"},
			{Title: "Channels", Columns: []string{"Name"}, Empty: "Nobody talks."},
		},
		Rates: []Rate{{"up", 1 << 30}, {"down", 1 << 20}},
	}
}

func handler(view func() View) http.Handler { return (&Server{view: view}).Handler() }

func ask(h http.Handler, method, host, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://"+host+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestGuard: our page, under a loopback name, and nobody else.
func TestGuard(t *testing.T) {
	h := handler(sample)
	for _, c := range []struct {
		name, method, host, path string
		header                   []string
		want                     int
	}{
		{"the page", "GET", "127.0.0.1:7878", "/", nil, 200},
		{"by name", "GET", "localhost:7878", "/", nil, 200},
		{"over IPv6", "GET", "[::1]:7878", "/style.css", nil, 200},
		{"the view, asked by the page", "GET", "127.0.0.1:7878", "/view", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"a name that somebody's DNS leads here", "GET", "evil.example:7878", "/view", nil, 421},
		{"a name that begins like ours", "GET", "127.0.0.1.evil.example", "/view", nil, 421},
		{"another page", "GET", "127.0.0.1:7878", "/view", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another page of this machine", "GET", "127.0.0.1:7878", "/view", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"writing", "POST", "127.0.0.1:7878", "/view", nil, 405},
		{"elsewhere", "GET", "127.0.0.1:7878", "/../secret", nil, 404},
	} {
		w := ask(h, c.method, c.host, c.path, c.header...)
		if got := w.Code; got != c.want && !(c.want == 404 && got == 307) {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", c.name, csp)
		}
	}
}

func TestView(t *testing.T) {
	var got View
	if err := json.Unmarshal(ask(handler(sample), "GET", "localhost", "/view").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Tables[0].Rows) != MaxRows || got.Tables[0].More != 7 || got.Tables[1].Rows == nil {
		t.Errorf("%d rows and %d more, %v", len(got.Tables[0].Rows), got.Tables[0].More, got.Tables[1].Rows)
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0"} {
		if _, err := Listen(addr, sample); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if _, err := Listen("127.0.0.1", sample); err == nil {
		t.Error("an address without a port")
	}
}

// TestInABrowser: a browser draws it, as text and as a picture. The picture is kept where DASHBOARD_SCREENSHOT says.
func TestInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("SKIPPED: chromium is not installed (Debian: chromium)")
	}
	var looks atomic.Uint64
	s, err := Listen("127.0.0.1:0", func() View {
		v := sample()
		n := looks.Add(1)
		v.Rates = []Rate{{"up", n * n << 20}, {"down", n << 21}}
		return v
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(s.Handler())
	web.Listener = s.listener
	web.Start()
	defer web.Close()

	picture := filepath.Join(t.TempDir(), "dashboard.png")
	if keep := os.Getenv("DASHBOARD_SCREENSHOT"); keep != "" {
		picture = keep
	}
	browse := func(args ...string) string {
		t.Helper()
		flags := []string{
			"--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
			"--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--window-size=1100,900", "--virtual-time-budget=6000", "--hide-scrollbars",
		}
		cmd := exec.CommandContext(t.Context(), chromium, append(append(flags, args...), s.URL())...)
		cmd.WaitDelay = 5 * time.Second
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("chromium: %v\n%s", err, said.String())
		}
		if strings.Contains(said.String(), "Content Security Policy") {
			t.Errorf("the page breaks its own policy:\n%s", said.String())
		}
		return string(out)
	}
	dom := browse("--dump-dom", "--enable-logging=stderr")
	for _, want := range []string{
		"<title>relay.example · turnd</title>", `<p id="state" role="status" class="ok">serving</p>`, "<td>peer-0</td>", "Sessions (207)", "and 7 more",
		"Nobody talks.", "<dd>12</dd>", "&lt;script&gt;document.title", `<path class="s0" d="M`, "MiB/s",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page lacks %q:\n%s", want, dom[:min(len(dom), 3000)])
		}
	}
	browse("--screenshot=" + picture)
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(io.Reader(f))
	if err != nil {
		t.Fatal(err)
	}
	colours := make(map[string]bool)
	for y := range img.Bounds().Dy() {
		for x := 0; x < img.Bounds().Dx(); x += 3 {
			colours[fmt.Sprint(img.At(x, y))] = true
		}
	}
	if img.Bounds().Dx() < 1000 || len(colours) < 8 {
		t.Errorf("the picture is %v with %d colours", img.Bounds(), len(colours))
	}
}
