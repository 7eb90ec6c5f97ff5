// Package dashboard serves a status page of a program to browsers on this machine: one embedded page that asks for a
// View each second and draws it.
//
// The page can look and nothing else. It has no login, so it listens on loopback only; and since every page that a user
// of this machine visits may send requests there, what is not asked by our own page under a loopback name is refused.
package dashboard

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"traverse.internal/internal/httpserve"
)

//go:embed page
var page embed.FS

// Limits of the HTTP server: a few open pages of one person.
const (
	maxConns    = 16
	readTimeout = 5 * time.Second
	idleTimeout = 60 * time.Second
	grace       = time.Second
	maxHeader   = 8 << 10
)

// ErrNotLoopback says that the page was to be shown to the network.
var ErrNotLoopback = errors.New("dashboard: it has no login, so it is for loopback addresses only")

// A View is one look at a program.
type View struct {
	Program string   `json:"program"`
	Title   string   `json:"title"` // which of them this is
	State   string   `json:"state"` // one word or sentence
	OK      bool     `json:"ok"`
	Facts   []Fact   `json:"facts"`
	Alerts  []string `json:"alerts"` // what somebody should look at
	Tables  []Table  `json:"tables"`
	Rates   []Rate   `json:"rates"`
}

// A Fact is a name and what is so.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Table has rows as long as its columns. Empty says what it means that there is none.
type Table struct {
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
	Empty   string     `json:"empty"`
	More    int        `json:"more"` // rows that are left out
}

// A Rate is a count of bytes that only grows; the page draws how fast.
type Rate struct {
	Name  string `json:"name"`
	Bytes uint64 `json:"bytes"`
}

// MaxRows of a table are shown.
const MaxRows = 200

// Cut leaves MaxRows rows and says how many are left out.
func (t Table) Cut() Table {
	if t.Rows == nil {
		t.Rows = [][]string{}
	}
	if len(t.Rows) > MaxRows {
		t.Rows, t.More = t.Rows[:MaxRows], len(t.Rows)-MaxRows
	}
	return t
}

// A Server is a worker.
type Server struct {
	listener net.Listener
	view     func() View
}

// Listen opens addr (host:port), which must be loopback. view is called for each look, from any goroutine.
func Listen(addr string, view func() View) (*Server, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	if ip, err := netip.ParseAddr(host); (err != nil || !ip.IsLoopback()) && host != "localhost" {
		return nil, fmt.Errorf("%w, and %s is none", ErrNotLoopback, addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	return &Server{l, view}, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is what a browser opens.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// Close gives the address back without having served. After Serve it does nothing.
func (s *Server) Close() error { return s.listener.Close() }

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: 2 * readTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	err := httpserve.Until(ctx, srv, grace, func() error { return srv.Serve(netutil.LimitListener(s.listener, maxConns)) })
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	return nil
}

// Handler is the page, its parts, and GET /view.
func (s *Server) Handler() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /view", func(w http.ResponseWriter, _ *http.Request) {
		v := s.view()
		for i := range v.Tables {
			v.Tables[i] = v.Tables[i].Cut()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	})
	return guard(mux)
}

// guard refuses what our own page does not ask: another name for this machine, as DNS rebinding makes one, and other
// pages. What browsers get is kept by nobody and shown in no frame.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if !loopbackName(r.Host) {
			http.Error(w, "this page is asked for by a loopback address", http.StatusMisdirectedRequest)
			return
		}
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none": // no browser, our page, or typed
		default:
			http.Error(w, "this page is not for other pages", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || host == "localhost"
}
