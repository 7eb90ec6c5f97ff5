package dht

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// sim is an Internet in memory for hundreds of nodes: datagrams take their time, and some get lost. With testing/synctest
// the time costs nothing.
type sim struct {
	mode  Mode
	delay time.Duration // one way; half of it to one and a half
	loss  float64

	mu     sync.Mutex // guards the fields below
	hosts  map[netip.AddrPort]*simSocket
	random *rand.Rand
	made   int // hosts that ever were
	nodes  []*Node
	ends   sync.WaitGroup // nodes that are being closed
}

// simSocket is one host's socket.
type simSocket struct {
	sim    *sim
	at     netip.AddrPort
	vice   vice
	queue  chan memDatagram
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex            // guards the field below
	asked map[string]krpc.Msg   // of a hostile host: what it was asked, by the asker and the transaction
	first map[krpc.ID]*krpc.Msg // what it answered first about a target

	outPackets, outBytes, inPackets, inBytes atomic.Int64
}

func newSim(t testing.TB, mode Mode, seed uint64) *sim {
	t.Helper()
	s := &sim{mode: mode, delay: 20 * time.Millisecond, loss: 0.01, hosts: map[netip.AddrPort]*simSocket{}, random: rand.New(rand.NewPCG(seed, 1))}
	t.Cleanup(func() {
		for len(s.nodes) > 0 {
			s.kill(s.nodes[0])
		}
		s.ends.Wait()
	})
	return s
}

// boots are the hosts that others begin with: the first three.
const boots = 3

// simAddr is the address of the host of a number: public, and no two in one /24.
func simAddr(number int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{50, byte(number >> 8), byte(number), 1}), 6881)
}

// start starts a node at a host of its own. With a vice the host is hostile.
func (s *sim) start(t testing.TB, v vice) *Node {
	t.Helper()
	s.mu.Lock()
	at := simAddr(s.made)
	s.made++
	s.mu.Unlock()
	cfg := Config{Mode: s.mode, Listen: at, open: func(a netip.AddrPort) (socket, error) { return s.open(a, v), nil }}
	for i := range boots {
		if boot := simAddr(i); boot != at {
			cfg.Bootstrap = append(cfg.Bootstrap, boot.String())
		}
	}
	if s.mode == Mainline {
		cfg.PublicIP = at.Addr()
	}
	n, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.nodes = append(s.nodes, n)
	return n
}

// kill cuts a node off, as a power cut does, and then ends it.
func (s *sim) kill(n *Node) {
	s.mu.Lock()
	delete(s.hosts, n.Addr())
	s.mu.Unlock()
	s.nodes = slices.DeleteFunc(s.nodes, func(o *Node) bool { return o == n })
	s.ends.Go(func() { _ = n.Close() })
}

func (s *sim) open(at netip.AddrPort, v vice) *simSocket {
	o := &simSocket{
		sim: s, at: at, vice: v, queue: make(chan memDatagram, 1024), closed: make(chan struct{}),
		asked: map[string]krpc.Msg{}, first: map[krpc.ID]*krpc.Msg{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[at] = o
	return o
}

// socketOf is the socket of a node.
func (s *sim) socketOf(n *Node) *simSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[n.Addr()]
}

// carry takes a datagram to its host, later or never.
func (s *sim) carry(from, to netip.AddrPort, b []byte) {
	s.mu.Lock()
	lost := s.random.Float64() < s.loss
	took := s.delay/2 + time.Duration(s.random.Int64N(int64(s.delay)))
	s.mu.Unlock()
	if lost {
		return
	}
	time.AfterFunc(took, func() {
		s.mu.Lock()
		o := s.hosts[to]
		s.mu.Unlock()
		if o == nil {
			return
		}
		select {
		case o.queue <- memDatagram{from, b}:
			o.inPackets.Add(1)
			o.inBytes.Add(int64(len(b)))
		default: // its buffer is full
		}
	})
}

func (o *simSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-o.queue:
		if o.vice != nil {
			o.note(d)
		}
		return copy(b, d.b), d.from, nil
	case <-o.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (o *simSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	out := [][]byte{slices.Clone(b)}
	if o.vice != nil {
		out = o.twist(b, to)
	}
	for _, d := range out {
		o.outPackets.Add(1)
		o.outBytes.Add(int64(len(d)))
		o.sim.carry(o.at, to, d)
	}
	return len(b), nil
}

func (o *simSocket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(o.at) }

func (o *simSocket) Close() error {
	o.once.Do(func() { close(o.closed) })
	return nil
}

// note remembers what a hostile host was asked.
func (o *simSocket) note(d memDatagram) {
	var q krpc.Msg
	if bencode.Unmarshal(d.b, &q) == nil && q.Y == "q" && q.A != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.asked) > 4096 {
			clear(o.asked)
		}
		o.asked[d.from.String()+q.T] = q
	}
}

// twist is what a hostile host sends in place of an honest answer.
func (o *simSocket) twist(b []byte, to netip.AddrPort) [][]byte {
	var m krpc.Msg
	if bencode.Unmarshal(b, &m) != nil || m.Y != "r" || m.R == nil {
		return [][]byte{slices.Clone(b)}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	q, ok := o.asked[to.String()+m.T]
	delete(o.asked, to.String()+m.T)
	if !ok || q.Q != "get" && q.Q != "put" {
		return [][]byte{slices.Clone(b)} // so that it stays in others' tables
	}
	return o.vice(o, q, m)
}

// vice is what a hostile node does instead of answering a get or a put. The socket's mu is held.
type vice func(o *simSocket, q, answer krpc.Msg) [][]byte

func encoded(m krpc.Msg) [][]byte { return [][]byte{bencode.MustMarshal(m)} }

// vices are the known kinds.
var vices = map[string]vice{
	"drops": func(*simSocket, krpc.Msg, krpc.Msg) [][]byte { return nil },
	"lies": func(_ *simSocket, _, m krpc.Msg) [][]byte { // it has stored everything, and has never heard of it
		m.R.Bep44Return = krpc.Bep44Return{}
		return encoded(m)
	},
	"limits rates": func(o *simSocket, _, m krpc.Msg) [][]byte {
		switch n := o.outPackets.Load() % 5; n {
		case 0:
			return encoded(m)
		case 1, 2:
			return encoded(krpc.Msg{T: m.T, Y: "e", E: &krpc.Error{Code: 202, Msg: "slow down"}})
		}
		return nil
	},
	"talks junk": func(o *simSocket, _, m krpc.Msg) [][]byte {
		junk := make([]byte, 100+rand.IntN(1300))
		for i := range junk {
			junk[i] = byte(i * 37)
		}
		return [][]byte{
			junk, append([]byte("d"), junk...), []byte("d1:rd2:id20:01234567890123456789e1:t" + fmt.Sprint(len(m.T)) + ":" + m.T + "1:y1:re"),
			[]byte("d1:rd2:id20:012345678901234567893:seqi1e1:v5:junk!e1:t" + fmt.Sprint(len(m.T)) + ":" + m.T + "1:y1:re"),
		}
	},
	"keeps to what is old": func(o *simSocket, q, m krpc.Msg) [][]byte {
		if q.Q == "put" || m.R.Seq == nil {
			return encoded(m)
		}
		if o.first[q.A.Target] == nil {
			kept := m
			o.first[q.A.Target] = &kept
		}
		old := *o.first[q.A.Target].R
		old.ID, old.Nodes, old.Token = m.R.ID, m.R.Nodes, m.R.Token
		m.R = &old
		return encoded(m)
	},
	"answers with other keys": func(_ *simSocket, q, m krpc.Msg) [][]byte {
		if q.Q == "get" {
			seq, value := int64(1)<<62, bencode.MustMarshal("not what you asked for")
			m.R.Bep44Return = krpc.Bep44Return{V: value, K: strangerKey.public, Seq: &seq}
			copy(m.R.Sig[:], bep44.Sign(strangerKey.private, nil, seq, value))
		}
		return encoded(m)
	},
	"names nodes that are not there": func(o *simSocket, q, m krpc.Msg) [][]byte {
		m.R.Bep44Return, m.R.Nodes = krpc.Bep44Return{}, nil
		for i := range maxNodes {
			id := q.A.Target
			id[19] ^= byte(rand.IntN(256))
			id[18] ^= byte(rand.IntN(256))
			ip := []byte{51, byte(rand.IntN(256)), byte(rand.IntN(256)), byte(i)}
			m.R.Nodes = append(m.R.Nodes, krpc.NodeInfo{ID: id, Addr: krpc.NodeAddr{IP: ip, Port: 1 + rand.IntN(60000)}})
		}
		return encoded(m)
	},
}

// settled waits until every node has joined and most know enough others.
func (s *sim) settled(t testing.TB) {
	t.Helper()
	for _, n := range s.nodes {
		select {
		case <-n.Joined():
		case <-time.After(5 * time.Minute):
			t.Fatalf("a node has not joined after 5 minutes: %+v", n.Stats())
		}
	}
}

// got says whether an item of the key is found by n.
func got(ctx context.Context, n *Node, public [32]byte) (Item, bool) {
	item, err := n.Get(ctx, public, 0, nil)
	return item, err == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNoNodes) && ctx.Err() == nil
}
