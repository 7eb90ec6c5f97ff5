package turn

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/turn/alloc"
)

// tick is how often ends are looked for. With the timer wheel's second an allocation ends at most 1.2 s late.
const tick = 200 * time.Millisecond

// Server is a TURN server. It is made by New, works in Serve, and ends with it. Its other methods are safe for concurrent
// use.
type Server struct {
	config  Config
	users   users
	nonces  *nonces
	devices atomic.Pointer[deviceSet]
	seal    cipher.AEAD // of mobility tickets
	policy  guard
	door    *doorman
	shards  []*shard
	tcp     []*net.TCPListener
	tls     []*net.TCPListener
	cert    *certificate // nil: none
	pusher  *pusher      // nil: nothing is pushed
	handed  []Inherited  // sockets that nobody has taken yet, while New runs

	dtlsJobs   chan dtlsJob
	dtlsStats  dtlsStats
	dtlsLooked time.Time // expireLoop's

	ports [2][2]ports // by family, and protocol: UDP, TCP

	ledgerMu sync.Mutex // guards ledger, and the alloc.Ports in ports
	ledger   *alloc.Ledger

	ctx    context.Context // ends when the server closes
	cancel context.CancelFunc
	tasks  sync.WaitGroup // everything the server started
	closed sync.Once

	streamsMu sync.Mutex // guards streams
	streams   map[*stream]struct{}

	kernel kernel // what is relayed past this process

	metered atomic.Bool   // some rate is limited
	rate    atomic.Int64  // of a user; 0: not limited
	epoch   atomic.Uint64 // of policy and limits

	reloads sync.Mutex    // held by Reload
	again   atomic.Bool   // permissions are to be checked once more
	revoked atomic.Uint64 // permissions and channels that a reload took back

	alternates atomic.Pointer[[]netip.AddrPort]

	draining atomic.Bool
	drained  chan struct{} // closed when draining and nothing is left
	empty    sync.Once     // closes drained

	skew atomic.Int64 // ns that tests are ahead of the clock
}

// New opens the listening sockets. The error of a port in use is syscall.EADDRINUSE. Who does not call Serve afterwards
// calls Close.
func New(config Config) (*Server, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	s := &Server{
		config:  config,
		nonces:  newNonces(config.NonceLifetime, config.FleetKeys),
		door:    newDoorman(config.MaxStreams, config.MaxStrangers),
		ledger:  alloc.NewLedger(config.Limits),
		streams: make(map[*stream]struct{}),
		drained: make(chan struct{}),

		dtlsJobs: make(chan dtlsJob, dtlsQueue),
	}
	s.seal = newSeal()
	s.kernel.server, s.kernel.off = s, config.Offload
	s.users.realm = config.Realm
	s.users.replace(config.Users, config.Keys, config.Secrets)
	s.setDevices(config.Devices)
	s.alternates.Store(&config.Alternates)
	if config.Push {
		var err error
		if s.pusher, err = newPusher(config.PushLimits); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for family := range s.ports {
		for protocol := range s.ports[family] {
			s.ports[family][protocol].free = alloc.NewPorts(config.PortMin, config.PortMax)
		}
	}
	for i := range config.Shards {
		sh, err := newShard(s, i)
		if err != nil {
			_ = s.Close()
			return nil, err
		}
		s.shards = append(s.shards, sh)
	}
	s.setLimits(config.Limits)
	s.handed = slices.Clone(config.Inherited)
	err := s.listen()
	if err == nil {
		err = s.openShared()
	}
	for _, in := range s.handed {
		in.File.Close()
	}
	s.handed = nil
	if err == nil {
		err = s.setPolicy(config)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Serve works until ctx ends, the server is closed, or a listening socket fails. It returns after everything that it
// started has ended; nil, or the socket's error. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	failed := make(chan error, 1) // the first failure; later ones follow from it
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
		_ = s.Close()
	}
	for _, sh := range s.shards {
		s.tasks.Go(func() {
			if err := sh.work(); s.ctx.Err() == nil {
				fail(err)
			}
		})
	}
	if s.secured() {
		s.tasks.Go(s.dtlsLoop)
	}
	for transport, listeners := range map[alloc.Transport][]*net.TCPListener{alloc.TCP: s.tcp, alloc.TLS: s.tls} {
		for _, l := range listeners {
			s.tasks.Go(func() {
				if err := s.acceptStreams(l, transport); s.ctx.Err() == nil {
					fail(err)
				}
			})
		}
	}
	s.tasks.Go(s.expireLoop)
	s.tasks.Wait()
	s.kernel.end()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// Close ends the server: listeners, connections, allocations. It does not wait; Serve does. The error is nil.
func (s *Server) Close() error {
	s.closed.Do(func() {
		s.cancel()
		for _, sh := range s.shards {
			sh.close()
		}
		for _, l := range slices.Concat(s.tcp, s.tls) {
			l.Close()
		}
		s.streamsMu.Lock()
		for st := range s.streams {
			st.tcp.Close()
		}
		s.streamsMu.Unlock()
		for _, sh := range s.shards {
			sh.endAll()
			sh.closeShared()
		}
		s.ledgerMu.Lock()
		left := s.ledger.Drain()
		s.ledgerMu.Unlock()
		s.closeReservations(left)
	})
	return nil
}

// expireLoop ends what is over.
func (s *Server) expireLoop() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
			s.expire()
		}
	}
}

func (s *Server) expire() {
	now := s.now()
	for _, sh := range s.shards {
		sh.mu.Lock()
		ended := sh.table.Expire(now)
		sh.mu.Unlock()
		for _, c := range ended.Conns {
			s.closeConn(c)
		}
		for _, h := range ended.Halves {
			relayOf(h.Alloc).toward(h.Addr.Addr()).free()
		}
		for _, a := range ended.Allocations {
			relayOf(a).close()
		}
	}
	s.ledgerMu.Lock()
	over := s.ledger.Expire(now)
	s.ledger.Refill(now)
	s.ledgerMu.Unlock()
	s.closeReservations(over)
	if s.again.Swap(false) {
		s.recheck()
	}
	s.kernel.tick(now)
	s.expireSecured(now)
	s.noteDrained()
	if s.cert != nil {
		s.cert.follow(now)
	}
}

// now is the time that everything is decided by.
func (s *Server) now() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }

// UDPAddrs returns the addresses that are listened on over UDP, in the order of the configuration.
func (s *Server) UDPAddrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range s.shards[0].listeners {
		if l.secured == nil {
			addrs = append(addrs, l.local)
		}
	}
	return addrs
}

// TCPAddrs returns the addresses that are listened on over TCP, in the order of the configuration.
func (s *Server) TCPAddrs() []netip.AddrPort { return addrsOf(s.tcp) }

// TLSAddrs returns the addresses that are listened on over TLS, in the order of the configuration.
func (s *Server) TLSAddrs() []netip.AddrPort { return addrsOf(s.tls) }

func addrsOf(listeners []*net.TCPListener) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range listeners {
		addrs = append(addrs, addrPortOf(l.Addr()))
	}
	return addrs
}

// Addrs returns all addresses that are listened on.
func (s *Server) Addrs() []netip.AddrPort {
	return slices.Concat(s.UDPAddrs(), s.TCPAddrs(), s.TLSAddrs(), s.DTLSAddrs())
}

// random64 returns a number that nobody can foretell.
func random64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return binary.NativeEndian.Uint64(b[:])
}

// addrPortOf returns the address of a TCP socket, unmapped.
func addrPortOf(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
