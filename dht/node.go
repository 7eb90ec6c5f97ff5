package dht

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/int160"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
)

// A Node is one UDP socket's membership in a DHT. It answers others' queries, keeps their items, and gets and puts
// ours. A live object: Close ends it. Safe for concurrent use.
type Node struct {
	cfg      Config
	pace     pace
	conn     *guardedConn
	store    *store
	server   *mainline.Server
	self     int160.T // our node id
	avoid    avoidList
	observed observedAddrs
	nearby   nearby
	stats    stats

	bootstrap  atomic.Pointer[[]netip.AddrPort] // as last resolved
	unanswered atomic.Int32                     // queries in a row that nobody answered
	shape      atomic.Pointer[shape]            // of the table, as last looked at

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wake    chan struct{} // a stranger asked us something: worth a look at the table
	joined  chan struct{} // closed when the first node has answered
	once    sync.Once
	workers sync.WaitGroup
	done    chan struct{} // closed when Close has done its work
}

// Listen opens the socket and starts the node; it joins the DHT by itself, and goes on trying when there is nobody yet.
// The error is a *ListenError when the address could not be opened.
func Listen(cfg Config) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	sock, err := cfg.open(cfg.Listen)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, pace: paces[cfg.Mode], store: newStore(time.Now),
		wake: make(chan struct{}, 1), joined: make(chan struct{}), done: make(chan struct{}),
	}
	if cfg.resend > 0 {
		n.pace.resend = cfg.resend
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.conn = newGuardedConn(sock, cfg.Mode, &n.stats)
	n.conn.observed = n.observed.vote
	n.conn.heard = n.heard
	sc := n.serverConfig()
	sc.InitNodeId() // before the library reads its first packet, since our own code asks for the id
	n.self = int160.FromByteArray(sc.NodeId)
	if n.server, err = mainline.NewServer(sc); err != nil {
		_ = sock.Close()
		return nil, fmt.Errorf("dht: start: %w", err)
	}
	n.workers.Go(n.joinLoop)
	return n, nil
}

// Close leaves the DHT and frees the port. It returns when every goroutine of this package has ended and the library's
// reading goroutine has left the socket; replies the library had begun end by themselves within a moment, without I/O.
// It waits for at most one query's time-out.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.cancel()
		n.server.Close()   // before the socket: the library panics on a socket that closes under it
		_ = n.conn.Close() // now, and not when the library comes to it: the port is free when we return
		n.workers.Wait()
		n.conn.leave()
		close(n.done)
	})
	<-n.done
	return nil
}

// Done is closed when Close has finished.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns ErrClosed once the node is closed: there is no other end to it, a failing socket is read again.
func (n *Node) Err() error {
	if n.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// Addr returns the UDP address the node listens on.
func (n *Node) Addr() netip.AddrPort {
	ua, ok := n.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmapped(ua.AddrPort())
}

// Mode returns the node's mode.
func (n *Node) Mode() Mode { return n.cfg.Mode }

// Joined is closed when the first other node has answered.
func (n *Node) Joined() <-chan struct{} { return n.joined }

// onQuery is the second belt behind the guard, and mends the library's answers.
func (n *Node) onQuery(q *krpc.Msg, source net.Addr) (propagate bool) {
	if q.A == nil {
		return false
	}
	switch q.Q {
	case "find_node", "get":
		// The library looks for nodes near info_hash, which these queries do not have.
		q.A.InfoHash = n.nearTarget(q.A.Target)
	case "get_peers":
		q.A.InfoHash = n.nearTarget(q.A.InfoHash)
	case "put":
		if ua, ok := source.(*net.UDPAddr); ok {
			n.store.setWriter(ownerOf(unmapped(ua.AddrPort()).Addr()))
		}
	}
	return true
}

// heard is called for every packet that passed the guard.
func (n *Node) heard(from netip.AddrPort, query bool) {
	n.avoid.alive(from)
	if query {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// init takes the library's own default logger away, which writes to stderr what strangers send.
func init() { log.Default = quiet() }

// quiet is a logger that says nothing: what is worth knowing is counted.
func quiet() (l log.Logger) {
	l.SetHandlers(log.DiscardHandler)
	return l.WithFilterLevel(log.Critical)
}
