package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/net/netutil"

	"traverse.internal/internal/httpserve"
)

// Limits of the HTTP server. A scraper makes one request every few seconds; what
// exceeds these numbers is somebody else.
const (
	maxConns    = 32      // connections; more wait in the kernel's queue
	maxScrapes  = 4       // at a time; more get 503
	maxHeader   = 8 << 10 // bytes of a request
	readTimeout = 5 * time.Second
	scrapeLimit = 5 * time.Second // of one collection
	idleTimeout = 60 * time.Second
	grace       = 2 * time.Second // for scrapes that are under way at the end
)

// ErrWebConfig says that the web configuration file cannot be used.
var ErrWebConfig = errors.New("metrics: web configuration")

// A Server answers GET /metrics, /live (always 200) and /ready (503 with the reason while no new work is taken), and 404 to
// everything else.
type Server struct {
	ready    func() error
	listener net.Listener
	guard    string // the web configuration's file; "": plain HTTP, no authentication
	registry *prometheus.Registry
	setup    *prometheus.HistogramVec
}

// Listen opens addr (host:port) for the metrics of src. It fails when the port is
// in use, and with ErrWebConfig when that file cannot be used; until Serve runs,
// connections wait.
func Listen(addr string, src Sources) (*Server, error) {
	if src.WebConfig != "" {
		if err := web.Validate(src.WebConfig); err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrWebConfig, src.WebConfig, err)
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	s := &Server{listener: l, guard: src.WebConfig, registry: prometheus.NewRegistry(), ready: src.Ready}
	s.setup = src.register(s.registry)
	return s, nil
}

// Addr is the address that Listen opened.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the address back without having served. After Serve it does nothing.
func (s *Server) Close() error { return s.listener.Close() }

// PathSetup notes how long it took to establish a path of this kind, direct or
// relayed.
func (s *Server) PathSetup(kind string, took time.Duration) {
	if s.setup != nil {
		s.setup.WithLabelValues(kindLabel(kind)).Observe(took.Seconds())
	}
}

// Serve answers until ctx ends, and returns when its goroutines have: nil, unless
// the listener broke.
func (s *Server) Serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeLimit,
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError, // one broken source must not blind the rest
	}))
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "live") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if s.ready != nil {
			if err := s.ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ready")
	})
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      readTimeout + scrapeLimit,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // strangers must not write our log
	}
	err := httpserve.Until(ctx, srv, grace, func() error { // behind what the web configuration asks for
		flags := &web.FlagConfig{WebConfigFile: &s.guard}
		return web.Serve(netutil.LimitListener(s.listener, maxConns), srv, flags, slog.New(slog.DiscardHandler))
	})
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
