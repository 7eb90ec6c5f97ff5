package turnclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/stun"
)

// Config says where the relay is and who we are to it.
type Config struct {
	// Server is the relay's address. Zero: Host is looked up.
	Server netip.AddrPort
	// Host is "host:port" of the relay, port 3478 when it names none. Looked at only when Server is zero.
	Host string
	// Username and Password are the long-term credentials. They are used when the server asks for them.
	Username, Password string
	// TLS secures all connections. nil: none of them.
	TLS *TLS
	// UDP makes the control connection one over UDP, for AllocateUDP only: a relay lends no TCP ports over it, and it has no
	// TLS. Requests are repeated until they are answered.
	UDP bool
	// Local is the source address of all connections. Zero: the system chooses.
	Local netip.Addr
	// Timeout bounds the dialling of a connection and each request's answer, except Connect's (see connectTimeout).
	// Zero: 10 s. When it is exceeded the call fails with an *UnreachableError that is os.ErrDeadlineExceeded.
	Timeout time.Duration
}

// DefaultTimeout is Config.Timeout's default: a lost SYN is repeated after 1, 3 and 7 s.
const DefaultTimeout = 10 * time.Second

// maxRequests bounds the in-flight table: more callers wait for a place. 1 Refresh, 8 CreatePermission, the rest Connect.
const maxRequests = 32

// check names the first thing that is wrong, and fills in defaults.
func (cfg *Config) check() error {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	switch {
	case !cfg.Server.IsValid() && cfg.Host == "":
		return fmt.Errorf("turnclient: config: neither Server nor Host is set")
	case cfg.Server.IsValid() && cfg.Server.Port() == 0:
		return fmt.Errorf("turnclient: config: Server %v has no port", cfg.Server)
	case cfg.UDP && cfg.TLS != nil:
		return fmt.Errorf("turnclient: config: UDP and TLS exclude each other")
	case len(cfg.Username) > stun.MaxUsername:
		return fmt.Errorf("turnclient: config: Username of %d bytes, at most %d", len(cfg.Username), stun.MaxUsername)
	}
	return nil
}

// target returns what to dial.
func (cfg *Config) target() string {
	if cfg.Server.IsValid() {
		return netip.AddrPortFrom(cfg.Server.Addr().Unmap(), cfg.Server.Port()).String()
	}
	if _, _, err := net.SplitHostPort(cfg.Host); err != nil {
		return net.JoinHostPort(cfg.Host, fmt.Sprint(stun.DefaultPort))
	}
	return cfg.Host
}

// Client is one control connection to a relay. It can hold one allocation, because a TURN server knows an allocation by
// the connection it was made on. Safe for concurrent use.
type Client struct {
	cfg      Config
	conn     net.Conn     // the control connection
	password string       // that the control connection uses
	server   string       // for dialling data connections, and for errors
	local    *net.TCPAddr // source of data connections; nil: the system chooses

	life context.Context // ends with the control connection; its cause is Err
	kill context.CancelCauseFunc
	wg   sync.WaitGroup // readLoop, and the allocation's keepLoop, bindLoops, sendLoop

	attempts chan attempt  // ConnectionAttempts that no bindLoop has taken
	slots    chan struct{} // one for each request in flight
	stats    counters

	datagrams atomic.Pointer[UDPAllocation] // once it is asked for; nil: the connection carries STUN only

	writing sync.Mutex // held during a write to conn, which has a deadline
	out     []byte     // the request being written; guarded by writing

	mu    sync.Mutex // guards the fields below, and wg against a Close during start
	calls map[stun.TransactionID]*call
	cred  credentials
	alloc *lease
}

// Dial connects to the relay. Nothing is sent until Allocate.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	target := cfg.target()
	if cfg.UDP {
		return dialUDP(ctx, target, cfg)
	}
	conn, err := dialTCP(ctx, cfg.Timeout, local(cfg.Local), target)
	if err != nil {
		return nil, failure(ctx, target, "dial", err)
	}
	secured, err := cfg.secure(ctx, conn)
	if err != nil {
		return nil, failure(ctx, target, "tls handshake", err)
	}
	password, err := cfg.password(secured)
	if err != nil {
		_ = secured.Close()
		return nil, failure(ctx, target, "tls exporter", err)
	}
	c := newClient(secured, target, cfg)
	c.password = password // before the first request
	// The address that answered, not the name: a data connection belongs to the same server, and comes from the same
	// address of ours, or the server would not believe it.
	c.server = conn.RemoteAddr().String()
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		c.local = &net.TCPAddr{IP: a.IP, Zone: a.Zone}
	}
	return c, nil
}

// dialUDP makes the control connection a UDP socket that takes datagrams from the relay only.
func dialUDP(ctx context.Context, target string, cfg Config) (*Client, error) {
	d := net.Dialer{Timeout: cfg.Timeout}
	if cfg.Local.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(cfg.Local.Unmap(), 0))
	}
	conn, err := d.DialContext(ctx, "udp", target)
	if err != nil {
		return nil, failure(ctx, target, "dial", err)
	}
	return newClient(conn, conn.RemoteAddr().String(), cfg), nil
}

// newClient starts a client on a control connection.
func newClient(conn net.Conn, server string, cfg Config) *Client {
	c := &Client{
		cfg: cfg, conn: conn, server: server, password: cfg.Password,
		attempts: make(chan attempt, maxAttempts),
		slots:    make(chan struct{}, maxRequests),
		calls:    make(map[stun.TransactionID]*call),
	}
	c.life, c.kill = context.WithCancelCause(context.Background())
	c.wg.Go(c.readLoop)
	return c
}

// local returns the source address for the dialler, nil for none.
func local(a netip.Addr) *net.TCPAddr {
	if !a.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Unmap(), 0))
}

// dialTCP makes a bare TCP connection.
func dialTCP(ctx context.Context, timeout time.Duration, from *net.TCPAddr, to string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: timeout}
	if from != nil {
		d.LocalAddr = from
	}
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// fail ends the client for the given reason; the first reason stays.
func (c *Client) fail(cause error) {
	c.kill(cause)
	_ = c.conn.Close()
}

// Close ends the control connection, and with it, on the server, the allocation. It is idempotent and returns when all
// that Dial and Allocate started has ended. It returns nil.
func (c *Client) Close() error {
	c.mu.Lock() // start is over, or finds the client ended: nothing joins wg during the wait
	c.fail(ErrClosed)
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// start runs the loops unless the client has ended.
func (c *Client) start(loops ...func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return c.gone()
	}
	for _, loop := range loops {
		c.wg.Go(loop)
	}
	return nil
}

// Done is closed when the control connection has ended, by Close or by itself.
func (c *Client) Done() <-chan struct{} { return c.life.Done() }

// Err returns nil while the control connection is alive, and then why it is not: ErrClosed after Close.
func (c *Client) Err() error { return context.Cause(c.life) }

// Server returns the address that the control connection goes to.
func (c *Client) Server() string { return c.server }

// Stats is a copy of a client's counters.
type Stats struct {
	Requests        uint64 // sent, retries included
	Challenges      uint64 // 401 and 438 that were answered
	Forged          uint64 // responses dropped because of their integrity
	Stray           uint64 // responses that nobody waited for, and indications of no use
	Refreshes       uint64 // of the allocation or of its permissions
	Attempts        uint64 // ConnectionAttempts received
	AttemptsDropped uint64 // of these, dropped because the queue was full or they were too old
	Bound           uint64 // data connections made, for attempts and for Connect
	BindsFailed     uint64 // data connections that could not be made
	LastBindError   error  // why the last of them failed
}

type counters struct {
	requests, challenges, forged, stray, refreshes atomic.Uint64
	attempts, attemptsDropped, bound, bindsFailed  atomic.Uint64
	lastBindError                                  atomic.Pointer[error]
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	s := Stats{
		Requests:        c.stats.requests.Load(),
		Challenges:      c.stats.challenges.Load(),
		Forged:          c.stats.forged.Load(),
		Stray:           c.stats.stray.Load(),
		Refreshes:       c.stats.refreshes.Load(),
		Attempts:        c.stats.attempts.Load(),
		AttemptsDropped: c.stats.attemptsDropped.Load(),
		Bound:           c.stats.bound.Load(),
		BindsFailed:     c.stats.bindsFailed.Load(),
	}
	if err := c.stats.lastBindError.Load(); err != nil {
		s.LastBindError = *err
	}
	return s
}
