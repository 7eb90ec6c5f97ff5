package connmgr

import (
	"context"
	"net"
	"sync"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/core/tls"
	"traverse.internal/identity"
)

// Signaler carries sealed offers between devices. signalling.Signaler is the product's; errors carry a Reason.
type Signaler interface {
	// Call delivers an offer to the device and returns its answer.
	Call(ctx context.Context, peer identity.DeviceID, offer []byte) (answer []byte, err error)
	// Serve runs handle for each verified request from an allowed device, once a request, until ctx ends.
	// An error from handle is silence to the sender.
	Serve(ctx context.Context, handle func(ctx context.Context, from identity.DeviceID, offer []byte) (answer []byte, err error)) error
}

// tracer is a Signaler that tells by which route messages came: with a context of Traced the answer of a Call, with a handler's the request.
type tracer interface {
	Traced(ctx context.Context) context.Context
	Route(ctx context.Context) string
}

// Pathfinder finds paths between devices. ICE adapts core/ice; tests use pipes.
type Pathfinder interface {
	// Check tells whether a remote offer can be read, at no cost: nothing is gathered for one that cannot.
	Check(remote []byte) error
	Gather(ctx context.Context) (PathAttempt, error)
}

// PathAttempt is one gathering and its negotiation. Close ends it and leaves a Path it returned alone.
type PathAttempt interface {
	// Offer is the attempt's own offer, encoded.
	Offer() []byte
	// Permit readies the attempt's relays for the remote offer's addresses; an answerer calls it before it answers.
	Permit(ctx context.Context, remote []byte) error
	// Negotiate finds a path.
	Negotiate(ctx context.Context, role ice.Role, remote []byte) (*Path, error)
	Close() error
}

// Path is a raw stream to the other device, or Datagrams. Head was read from Conn already and comes first. Release frees what the
// path depends on (a relay allocation) and closes it; it is idempotent.
type Path struct {
	Conn    net.Conn // nil where there are Datagrams
	Head    []byte
	Route   ice.Route
	Release func()

	Datagrams tls.Datagrams // for DTLS, with:
	Own       *tls.OneTime  // the certificate whose fingerprint was in our offer
	PeerPrint []byte        // the fingerprint in the peer's
}

// Config is what a Manager needs. Zero values mean the default in brackets.
type Config struct {
	Device   *identity.Device
	Signaler Signaler
	Paths    Pathfinder
	// Allowed says whose requests are answered. Everybody else meets silence. Nil allows nobody.
	Allowed func(identity.DeviceID) bool
	// Revoked says which devices are to have no session any more, neither called from here nor calling. Nil: none.
	Revoked func(identity.DeviceID) bool
	// Accounts is what HELLO says to a device of the device lists known here. Nil: nothing.
	Accounts func(identity.DeviceID) []framing.AccountVersion
	// Greeted is told what the device says in its HELLO, once per session, on a goroutine of the session's. May be nil.
	Greeted func(identity.DeviceID, []framing.AccountVersion)
	// Observe receives events in order on a goroutine of its own; it may call the Manager. May be nil.
	Observe func(Event)

	// Policy says which paths to a device are wanted, whoever calls; asked for each attempt, and again when Repolicy is called. Paths must be
	// a PolicyPathfinder. Nil: what Paths does by itself.
	Policy func(identity.DeviceID) ice.Policy

	// Warm is how long the relayed link stays, idle, after a session has moved from it to a direct path, for the way back [10 min; negative: not at all].
	// At most maxWarm links do, the oldest goes first.
	Warm time.Duration

	Repunch   Repunch
	NoUpgrade bool // sessions stay on the relayed path they began on; the other side's tries for a direct one are not answered either

	Mux mux.Config // windows, channel limits, beacon and linger times; Secret and SessionID are the Manager's to set

	AttemptTimeout time.Duration // one attempt, all steps [40 s: 30 s for an answer (WIRE.md 2.2) and 10 s for a relay's retries]
	SecureTimeout  time.Duration // TLS and the first mux frame [10 s]
	MaxAttempts    int           // attempts in progress in each direction; more fail with ErrBusy or are not answered [64]
	MaxInbound     int           // answered requests in progress per device [4]
	MaxIncoming    int           // channel requests waiting for Accept, all devices; more are declined as busy [256]
}

func (c Config) withDefaults() Config {
	if c.AttemptTimeout == 0 {
		c.AttemptTimeout = 40 * time.Second
	}
	if c.SecureTimeout == 0 {
		c.SecureTimeout = 10 * time.Second
	}
	c.Repunch = c.Repunch.withDefaults()
	if c.Warm == 0 {
		c.Warm = DefaultWarm
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 64
	}
	if c.MaxInbound == 0 {
		c.MaxInbound = 4
	}
	if c.MaxIncoming == 0 {
		c.MaxIncoming = 256
	}
	if c.Revoked == nil {
		c.Revoked = func(identity.DeviceID) bool { return false }
	}
	if c.Accounts == nil {
		c.Accounts = func(identity.DeviceID) []framing.AccountVersion { return nil }
	}
	if c.Allowed == nil {
		c.Allowed = func(identity.DeviceID) bool { return false }
	}
	return c
}

// Manager is a live object: safe for concurrent use, ended by Close.
type Manager struct {
	cfg      Config
	self     identity.DeviceID
	upgrader Upgrader        // nil: there are no direct paths to look for
	ctx      context.Context // ends at Close; every attempt and session goroutine lives under it
	cancel   context.CancelFunc
	incoming chan *Incoming
	events   *eventQueue
	tasks    sync.WaitGroup // every goroutine but the event loop
	done     chan struct{}
	stats    counters
	past     history

	mu       sync.Mutex // guards the fields below
	closed   bool
	peers    map[identity.DeviceID]*peer
	known    map[identity.DeviceID]struct{} // devices whose EventNewDevice was given; grows with allowed devices only
	dialling int
	answers  int
	opened   uint64     // channels, on sessions that are over
	warm     []*session // those with a link that is kept, that of the oldest first; at most maxWarm

	fileSent, fileCopied uint64 // on those
}

// peer is what the Manager knows of one device while anything is going on with it.
type peer struct {
	id       identity.DeviceID
	current  *session              // takes new channels; nil when there is none
	sessions map[*session]struct{} // current and draining ones
	dial     *attempt              // own attempt in progress
	inbound  int                   // answered requests in progress, but for
	upgrades int                   // those for a direct path of a relayed session
	upgrade  *attempt              // own attempt for one
	changed  chan struct{}         // closed and replaced when any field above changes
}

// New makes a Manager. It is idle until Connect or Serve.
func New(cfg Config) *Manager {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		cfg: cfg, self: cfg.Device.ID(), ctx: ctx, cancel: cancel,
		incoming: make(chan *Incoming, cfg.MaxIncoming),
		events:   newEventQueue(cfg.Observe),
		done:     make(chan struct{}),
		peers:    map[identity.DeviceID]*peer{},
		known:    map[identity.DeviceID]struct{}{},
	}
	m.upgrader, _ = cfg.Paths.(Upgrader)
	go m.lifeLoop()
	return m
}

// Serve answers other devices' calls until ctx ends or the Manager is closed. It closes the Manager before it returns.
func (m *Manager) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(m.ctx, cancel)
	defer stop()
	err := m.cfg.Signaler.Serve(ctx, m.answer)
	closeErr := m.Close()
	if ctx.Err() != nil {
		err = nil // the caller asked for the end
	}
	if err == nil {
		err = closeErr
	}
	return err
}

// Close ends every session with GOAWAY and every attempt with an error, and waits for their goroutines. Idempotent.
// It may be called from an observer; Done tells when the last event has been delivered too.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	all := m.sessionsLocked()
	m.mu.Unlock()
	// Together: the peer of each may take the good-bye's second.
	var parting sync.WaitGroup
	for _, s := range all {
		parting.Go(func() { s.mux.Close() })
	}
	parting.Wait()
	m.cancel()
	m.tasks.Wait()
	m.drainIncoming()
	return nil
}

// Done is closed when the Manager is closed and its last event delivered.
func (m *Manager) Done() <-chan struct{} { return m.done }

// lifeLoop runs the event loop and tells Done.
func (m *Manager) lifeLoop() {
	stop := context.AfterFunc(m.ctx, func() {
		m.tasks.Wait()
		m.events.close()
	})
	defer stop()
	m.events.deliverLoop()
	close(m.done)
}

// spawn starts a goroutine that Close waits for; false once the Manager is closed.
func (m *Manager) spawn(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spawnLocked(f)
}

func (m *Manager) spawnLocked(f func()) bool {
	if m.closed {
		return false
	}
	m.tasks.Go(f)
	return true
}

// peerLocked returns the device's entry, made on demand.
func (m *Manager) peerLocked(id identity.DeviceID) *peer {
	p := m.peers[id]
	if p == nil {
		p = &peer{id: id, sessions: map[*session]struct{}{}, changed: make(chan struct{})}
		m.peers[id] = p
	}
	return p
}

// changedLocked wakes everybody who waits for news of the device, and forgets it when nothing is left. Whoever held p without the lock
// may hold one that was forgotten meanwhile; the entry that took its place stays.
func (m *Manager) changedLocked(p *peer) {
	close(p.changed)
	p.changed = make(chan struct{})
	if p.dial == nil && p.inbound == 0 && p.upgrades == 0 && p.upgrade == nil && len(p.sessions) == 0 && m.peers[p.id] == p {
		delete(m.peers, p.id)
	}
}
