// Package acme gets the TLS listeners' certificate from an authority such as Let's Encrypt, and renews it.
//
// The authority looks whether the names are ours (RFC 8555): by a connection to a TLS listener itself (tls-alpn-01,
// RFC 8737), or by a request to a port that is open only while it looks (http-01). The account and the certificates are
// kept in a folder; losing it costs a new account.
package acme

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// LetsEncrypt is the directory of the authority that is asked when nothing else is said.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

// alpn is the protocol of RFC 8737 §6.2.
const alpn = "acme-tls/1"

// Config says which names, whom to ask, and how the authority can look.
type Config struct {
	// Domains are the names; the first is shown to clients that name none.
	Domains []string
	// Email is told to the authority, for warnings; "" tells none.
	Email string
	// Directory is the URL of the authority [LetsEncrypt].
	Directory string
	// RootsFile has the certificates to trust in talking to the authority, PEM [the system's].
	RootsFile string
	// Folder keeps account and certificates. It is made, 0700.
	Folder string
	// TLS is the listener of ours that the authority's connection to port 443 reaches; invalid: none does.
	TLS netip.AddrPort
	// HTTP is where the authority's request to port 80 arrives; invalid: nowhere. The port is open only meanwhile.
	HTTP netip.AddrPort
	// Observe is called with what happens, from any goroutine [nobody].
	Observe func(Event)
}

// An Event is a certificate that was obtained or renewed, or an attempt at it that failed and will be repeated.
type Event struct {
	Domain  string
	Renewal bool
	Err     error // nil: obtained
}

// Stats count from New.
type Stats struct {
	Obtained uint64 // certificates, renewals among them
	Failures uint64 // attempts that failed
}

// A Manager has the certificates of its domains. It is a worker: Serve gets and renews them.
type Manager struct {
	conf     Config
	cache    *certmagic.Cache
	magic    *certmagic.Config
	obtained atomic.Uint64
	failures atomic.Uint64
}

// New makes the folder and reads the roots. Nobody is asked anything before Serve.
func New(c Config) (*Manager, error) {
	switch {
	case len(c.Domains) == 0:
		return nil, errors.New("acme: no domain")
	case c.Folder == "":
		return nil, errors.New("acme: no folder to keep certificates in")
	case !c.TLS.IsValid() && !c.HTTP.IsValid():
		return nil, errors.New("acme: the authority has no way to look: neither a TLS listener nor an HTTP port")
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	var roots *x509.CertPool
	if c.RootsFile != "" {
		pem, err := os.ReadFile(c.RootsFile)
		if err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("acme: %s has no certificate", c.RootsFile)
		}
	}
	if c.Directory == "" {
		c.Directory = LetsEncrypt
	}
	m := &Manager{conf: c}
	silent := zap.NewNop() // what happens is told to Observe
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		Logger:           silent,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: c.Folder},
		DefaultServerName: c.Domains[0], // clients that name no server
		OnEvent:           m.happened,
		Logger:            silent,
	})
	issuer := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: roots, Logger: silent,
		DisableHTTPChallenge: !c.HTTP.IsValid(), DisableTLSALPNChallenge: !c.TLS.IsValid(),
		AltHTTPPort: int(c.HTTP.Port()), AltTLSALPNPort: int(c.TLS.Port()),
	}
	// The library finds its port taken by our listener, and leaves the answer to GetCertificate.
	if at := c.TLS.Addr(); at.IsValid() && !at.IsUnspecified() {
		issuer.ListenHost = at.String()
	} else if at := c.HTTP.Addr(); at.IsValid() && !at.IsUnspecified() {
		issuer.ListenHost = at.String()
	}
	m.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(m.magic, issuer)}
	return m, nil
}

// Serve gets the certificates, renews each in the last third of its life, and returns when ctx ends. A failure is
// told to Observe and tried again, after a minute at first and six hours at last. The listeners should listen already.
func (m *Manager) Serve(ctx context.Context) error {
	defer m.cache.Stop()
	if err := m.magic.ManageAsync(ctx, m.conf.Domains); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	<-ctx.Done()
	return nil
}

// happened counts, and tells the observer.
func (m *Manager) happened(_ context.Context, event string, data map[string]any) error {
	e := Event{}
	e.Domain, _ = data["identifier"].(string)
	e.Renewal, _ = data["renewal"].(bool)
	switch event {
	case "cert_obtained":
		m.obtained.Add(1)
	case "cert_failed":
		m.failures.Add(1)
		if e.Err, _ = data["error"].(error); e.Err == nil {
			e.Err = errors.New("acme: no reason was given")
		}
	default:
		return nil
	}
	if m.conf.Observe != nil {
		m.conf.Observe(e)
	}
	return nil
}

// Stats returns the counts so far.
func (m *Manager) Stats() Stats { return Stats{m.obtained.Load(), m.failures.Load()} }

// GetCertificate answers a handshake of a client, or of the authority. There is an error while there is no certificate.
func (m *Manager) GetCertificate(hello *stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
	return m.magic.GetCertificate(hello)
}

// Current is the certificate of the first domain, nil while there is none.
func (m *Manager) Current() *stdtls.Certificate {
	cert, err := m.magic.GetCertificate(&stdtls.ClientHelloInfo{
		ServerName: m.conf.Domains[0], Conn: nowhere{},
		SupportedVersions: []uint16{stdtls.VersionTLS12}, SignatureSchemes: []stdtls.SignatureScheme{stdtls.ECDSAWithP256AndSHA256},
		SupportedCurves: []stdtls.CurveID{stdtls.CurveP256}, CipherSuites: []uint16{stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		return nil
	}
	return cert
}

// Protocols are what GetCertificate answers beside the server's own, for ALPN.
func (m *Manager) Protocols() []string { return []string{alpn} }

// nowhere is the connection of a handshake that nobody makes: the library asks it for addresses.
type nowhere struct{ net.Conn }

func (nowhere) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (nowhere) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (nowhere) SetDeadline(time.Time) error { return nil }
