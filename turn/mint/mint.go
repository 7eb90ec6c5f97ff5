package mint

import (
	"crypto/sha256"
	"crypto/subtle"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"traverse.internal/turn"
)

// maxName is the longest username: with its expiry it stays below RFC 8489's 508 bytes.
const maxName = 256

// Config says what is minted, and for whom. Set replaces it while the server runs.
type Config struct {
	// Secret is one of the TURN server's Config.Secrets: the newest.
	Secret string
	// Tokens are any of which the application shows. None: its certificate alone counts.
	Tokens []string
	// CertFile and KeyFile are the server's certificate. None: plain HTTP, on loopback only.
	CertFile, KeyFile string
	// ClientCA is the file of the authorities (PEM) that certify applications. "": certificates do not count.
	ClientCA string
	// URIs tell the browser where the TURN server is: turn:HOST:PORT?transport=udp and the like.
	URIs []string
	// TTL is how long credentials are good.
	TTL time.Duration
	// Rate is how many requests a second are answered, in bursts of five times as many; more get 429.
	Rate int
}

func (c Config) check() error {
	switch {
	case c.Secret == "":
		return errors.New("mint: there is no secret to make credentials of")
	case len(c.Tokens) == 0 && c.ClientCA == "":
		return errors.New("mint: neither a token nor an authority says who may ask")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("mint: a certificate takes a key, and a key a certificate")
	case c.ClientCA != "" && c.CertFile == "":
		return errors.New("mint: client certificates take TLS, and that a certificate")
	case len(c.URIs) == 0:
		return errors.New("mint: there is no URI that says where the TURN server is")
	case c.TTL < time.Second || c.Rate < 1:
		return errors.New("mint: the time to live or the rate is less than 1")
	}
	for _, token := range c.Tokens {
		if len(token) < 16 {
			return errors.New("mint: a token has less than 16 characters: it can be guessed")
		}
	}
	return nil
}

// state is a configuration in force.
type state struct {
	Config
	tokens [][32]byte // hashes: of one length, to be compared in constant time
	tls    *stdtls.Config
}

func newState(c Config) (*state, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &state{Config: c}
	for _, token := range c.Tokens {
		s.tokens = append(s.tokens, sha256.Sum256([]byte(token)))
	}
	if c.CertFile == "" {
		return s, nil
	}
	pair, err := stdtls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("mint: certificate: %w", err)
	}
	s.tls = &stdtls.Config{MinVersion: stdtls.VersionTLS12, Certificates: []stdtls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("mint: authority: %w", err)
		}
		s.tls.ClientCAs = x509.NewCertPool()
		if !s.tls.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("mint: authority: %s has no certificate", c.ClientCA)
		}
		s.tls.ClientAuth = stdtls.RequireAndVerifyClientCert
	}
	return s, nil
}

// Stats are the server's counts.
type Stats struct {
	Minted  uint64
	Refused map[string]uint64 // by reason: token, guessing, rate, request
}

// The reasons of a refusal.
const (
	refusedToken    = iota // no token, or a wrong one
	refusedGuessing        // too many wrong ones from there
	refusedRate            // too many requests
	refusedRequest         // not one that we know
	numRefusals
)

var refusalNames = [numRefusals]string{"token", "guessing", "rate", "request"}

// Server mints. It is made by Listen, works in Serve, and ends with it. Its methods are safe for concurrent use.
type Server struct {
	listener net.Listener
	secure   bool
	state    atomic.Pointer[state]
	limits   limits
	minted   atomic.Uint64
	refused  [numRefusals]atomic.Uint64
	now      func() time.Time
}

// Listen opens an address. Without a certificate it must be one of loopback.
func Listen(addr string, c Config) (*Server, error) {
	st, err := newState(c)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	if st.tls == nil && !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("mint: %s is not loopback, and tokens do not travel in plain text: it takes a certificate", addr)
	}
	s := &Server{listener: l, secure: st.tls != nil, now: time.Now}
	s.state.Store(st)
	return s, nil
}

// Set puts another configuration in the place of the present one, certificate included; whether there is TLS at all
// stays. With an error nothing has changed.
func (s *Server) Set(c Config) error {
	st, err := newState(c)
	if err != nil {
		return err
	}
	if s.secure != (st.tls != nil) {
		return errors.New("mint: to begin or end TLS takes a restart")
	}
	s.state.Store(st)
	return nil
}

// Addr is the address that Listen opened.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the address back without having served. After Serve it does nothing.
func (s *Server) Close() error { return s.listener.Close() }

// Stats returns the counts.
func (s *Server) Stats() Stats {
	out := Stats{Minted: s.minted.Load(), Refused: make(map[string]uint64, numRefusals)}
	for i, name := range refusalNames {
		out.Refused[name] = s.refused[i].Load()
	}
	return out
}

// credentials are the answer, in the draft's words.
type credentials struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	TTL      int64    `json:"ttl"` // seconds
	URIs     []string `json:"uris"`
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	refuse := func(why int, code int, text string) {
		s.refused[why].Add(1)
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, text, code)
	}
	st, now := s.state.Load(), s.now()
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, POST")
		refuse(refusedRequest, http.StatusMethodNotAllowed, "GET or POST")
		return
	case err != nil:
		refuse(refusedRequest, http.StatusBadRequest, "from nowhere")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if r.ParseForm() != nil {
		refuse(refusedRequest, http.StatusBadRequest, "not a form of at most 4 KiB")
		return
	}
	if !st.mayAsk(r) {
		if !s.limits.guess(now, from.Addr()) {
			refuse(refusedGuessing, http.StatusTooManyRequests, "too many wrong tokens")
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="turn"`)
		refuse(refusedToken, http.StatusUnauthorized, "it takes a token: Authorization: Bearer TOKEN")
		return
	}
	if !s.limits.take(now, st.Rate) { // strangers' requests do not count, or they would use it up
		refuse(refusedRate, http.StatusTooManyRequests, "too many requests")
		return
	}
	if service := r.Form.Get("service"); service != "" && service != "turn" {
		refuse(refusedRequest, http.StatusBadRequest, "the service is turn")
		return
	}
	name := r.Form.Get("username")
	if !validName(name) {
		refuse(refusedRequest, http.StatusBadRequest, "a username is at most 256 bytes of printable text")
		return
	}
	out := credentials{TTL: int64(st.TTL / time.Second), URIs: st.URIs}
	out.Username, out.Password = turn.Mint(st.Secret, name, now.Add(st.TTL))
	s.minted.Add(1)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // who went away does not need it
}

// mayAsk says whether a request shows a token, where there are any. A certificate was checked by TLS.
func (st *state) mayAsk(r *http.Request) bool {
	if len(st.tokens) == 0 {
		return r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	}
	shown := r.Form.Get("key")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		shown = bearer
	}
	hash, found := sha256.Sum256([]byte(shown)), 0
	for _, token := range st.tokens {
		found |= subtle.ConstantTimeCompare(hash[:], token[:])
	}
	return found == 1
}

func validName(name string) bool {
	if len(name) > maxName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
