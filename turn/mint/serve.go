package mint

import (
	"context"
	stdtls "crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"traverse.internal/internal/httpserve"
)

// Limits of the HTTP server: an application asks once for each of its users' calls, over a connection that it keeps.
const (
	maxConns  = 64      // more wait in the kernel's queue
	maxHeader = 8 << 10 // bytes
	timeout   = 5 * time.Second
	idle      = 60 * time.Second
	grace     = 2 * time.Second // for answers that are under way at the end
)

// Serve answers until ctx ends, and returns when its goroutines have: nil, unless the listener broke.
func (s *Server) Serve(ctx context.Context) error {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: idle,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(io.Discard, "", 0), // strangers must not write our log
	}
	if err := httpserve.Until(ctx, srv, grace, func() error { return s.serveHTTP(srv) }); err != nil {
		return fmt.Errorf("mint: %w", err)
	}
	return nil
}

func (s *Server) serveHTTP(srv *http.Server) error {
	l := netutil.LimitListener(s.listener, maxConns)
	if !s.secure {
		return srv.Serve(l)
	}
	srv.TLSConfig = &stdtls.Config{
		MinVersion: stdtls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*stdtls.ClientHelloInfo) (*stdtls.Config, error) { return s.state.Load().tls, nil },
		GetCertificate: func(*stdtls.ClientHelloInfo) (*stdtls.Certificate, error) { // not asked; ServeTLS wants one
			return &s.state.Load().tls.Certificates[0], nil
		},
	}
	return srv.ServeTLS(l, "", "")
}
