package ice

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// udpPorts are the UDP sockets of an endpoint, which all attempts and pairs share, and the tables that say whose a datagram is.
// docs/protocol/udp.md: the first byte tells checks (0x00 to 0x03) from the rest (0xc0 to 0xff, a tag).
type udpPorts struct {
	ep     *Endpoint
	poller *udp.Poller
	socks  []*udpSock
	stats  udp.Stats

	batches sync.Pool     // *udp.SendBatch
	lately  atomic.Uint32 // what became of the last questions to STUN servers

	mu      sync.RWMutex // guards the fields below
	byUfrag map[string]*udpAgent
	byTag   map[uint32]*udpAgent
	byAddr  map[netip.AddrPort][]*udpAgent // whom an agent checks, for answers, which name nobody
	asked   map[stun.TransactionID]*query  // of STUN servers
}

// udpSock is one socket.
type udpSock struct {
	conn  *udp.Conn
	local netip.AddrPort
}

// maxDatagram is the longest that is taken; nothing of ours is longer.
const maxDatagram = 2048

// Tags have the two highest bits set: a first byte that no other protocol on an ICE socket has (RFC 7983).
const tagBits = 0xc0000000

// tagOf is what datagrams to a device begin with, by the password of its offer: who does not know that cannot tell, and two
// attempts between the same two addresses do not mix.
func tagOf(password string) uint32 {
	sum := sha256.Sum256([]byte("traverse udp tag\x00" + password))
	return binary.BigEndian.Uint32(sum[:]) | tagBits
}

// listenUDP opens a socket for each listener, on the same port where that is free. Without any the endpoint has only TCP.
func listenUDP(e *Endpoint) *udpPorts {
	p := &udpPorts{
		ep:      e,
		byUfrag: make(map[string]*udpAgent), byTag: make(map[uint32]*udpAgent),
		byAddr: make(map[netip.AddrPort][]*udpAgent), asked: make(map[stun.TransactionID]*query),
	}
	p.batches.New = func() any { return udp.NewSendBatch(&p.stats) }
	var err error
	if p.poller, err = udp.NewPoller(&p.stats); err != nil {
		return nil
	}
	// Room for the bursts of several paths: what finds none is lost, and sent again.
	options := udp.Options{Trains: true, RecvBuffer: 4 << 20, SendBuffer: 4 << 20}
	port := e.port
	for _, ln := range e.lns {
		at := netip.AddrPortFrom(ln.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap(), port)
		conn, err := udp.Listen(at, options)
		if errors.Is(err, syscall.EADDRINUSE) {
			conn, err = udp.Listen(netip.AddrPortFrom(at.Addr(), 0), options)
		}
		if err != nil {
			continue
		}
		s := &udpSock{conn: conn, local: conn.LocalAddr()}
		if p.poller.Add(conn, s) != nil {
			_ = conn.Close()
			continue
		}
		p.socks = append(p.socks, s)
	}
	if len(p.socks) == 0 {
		_ = p.poller.Close()
		return nil
	}
	e.wg.Add(1)
	go p.udpLoop()
	return p
}

func (p *udpPorts) close() {
	p.mu.RLock()
	agents := make([]*udpAgent, 0, len(p.byUfrag))
	for _, u := range p.byUfrag {
		agents = append(agents, u)
	}
	p.mu.RUnlock()
	for _, u := range agents {
		u.close(ErrClosed)
	}
	for _, s := range p.socks {
		_ = s.conn.Close()
	}
	_ = p.poller.Close()
}

// udpLoop takes datagrams off all sockets and gives each to whom it is for. It never waits for one of them.
func (p *udpPorts) udpLoop() {
	defer p.ep.wg.Done()
	in := udp.NewRecvBatch(&p.stats)
	ready := make([]udp.Ready, 8)
	for {
		n, err := p.poller.Wait(ready)
		if err != nil {
			return
		}
		for _, r := range ready[:n] {
			s := r.Owner.(*udpSock)
			in.Reset()
			if _, err := s.conn.Recv(in, udp.BatchLen); err != nil {
				continue // closed, or broken: Wait says so
			}
			p.sort(in, s)
		}
	}
}

// sort gives out a batch. What goes to one pair in a row goes there at once.
func (p *udpPorts) sort(in *udp.RecvBatch, s *udpSock) {
	var to *udpAgent
	var tag uint32
	var from netip.AddrPort
	for i := range in.Len() {
		b, at := in.Packet(i), in.From(i)
		at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
		switch {
		case len(b) < 5 || len(b) > maxDatagram:
			p.ep.stats.udpStray.Add(1)
		case b[0] <= 3:
			p.check(b, way{sock: s, to: at, local: in.To(i).Unmap()})
		default:
			if t := binary.BigEndian.Uint32(b); to == nil || t != tag || at != from {
				if to != nil {
					to.in.ready()
				}
				p.mu.RLock()
				to = p.byTag[t]
				p.mu.RUnlock()
				if to != nil && !to.knows(udpKey{addr: at}) {
					to = nil
				}
				tag, from = t, at
			}
			if to == nil {
				p.ep.stats.udpStray.Add(1)
				continue
			}
			to.in.put(b[4:])
		}
	}
	if to != nil {
		to.in.ready()
	}
}

// way is how a peer is reached: through which of our sockets, where, and from which of its addresses.
type way struct {
	sock  *udpSock
	to    netip.AddrPort
	local netip.Addr // the zero Addr: the socket's own
	lent  *lentUDP   // not a socket of ours, but this relayed address; nil: none
}

// known reports whether there is a way at all.
func (w way) known() bool { return w.sock != nil || w.lent != nil }

// check gives a STUN message to the agents that may have asked for it, or that it names.
func (p *udpPorts) check(b []byte, w way) {
	m, err := stun.Parse(b)
	if err != nil || m.Type().Method != stun.MethodBinding {
		p.ep.stats.udpStray.Add(1)
		return
	}
	if ufrag, ok := addressee(m); ok {
		p.mu.RLock()
		u := p.byUfrag[string(ufrag)]
		p.mu.RUnlock()
		if u == nil || m.CheckIntegrity([]byte(u.password)) != nil {
			p.ep.stats.udpStray.Add(1)
			return
		}
		u.heard(b, w)
		return
	}
	if m.Type().Class != stun.ClassSuccess && m.Type().Class != stun.ClassError {
		return
	}
	p.mu.RLock()
	q := p.asked[m.TransactionID()]
	agents := p.byAddr[w.to]
	p.mu.RUnlock()
	if q != nil {
		q.answered(m, w)
		return
	}
	for _, u := range agents {
		if m.CheckIntegrity([]byte(u.peerPassword())) == nil {
			u.heard(b, w)
			return
		}
	}
	p.ep.stats.udpStray.Add(1)
}

// send sends one datagram of a few; see pair.go for many.
func (p *udpPorts) send(b []byte, w way) {
	if w.lent != nil {
		w.lent.Send(w.to, b)
		return
	}
	batch := p.batches.Get().(*udp.SendBatch)
	batch.Add(b, udp.Route{To: w.to, From: w.local})
	w.sock.conn.Send(batch)
	p.batches.Put(batch)
}

// of returns the sockets of an address' family.
func (p *udpPorts) of(a netip.Addr) []*udpSock {
	var out []*udpSock
	for _, s := range p.socks {
		if s.local.Addr().Is4() == a.Is4() {
			out = append(out, s)
		}
	}
	return out
}

// add enters an agent under its names; false: they are taken, or the endpoint is closed.
func (p *udpPorts) add(u *udpAgent) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byUfrag[u.ufrag] != nil || p.byTag[u.tagIn] != nil || p.ep.ctx.Err() != nil || len(p.byUfrag) >= maxPairs {
		return false
	}
	p.byUfrag[u.ufrag], p.byTag[u.tagIn] = u, u
	return true
}

// maxPairs bounds the attempts and the paths over UDP of one endpoint, each with at most queueLen datagrams waiting.
const maxPairs = 1024

// expect has answers from an address given to the agent.
func (p *udpPorts) expect(u *udpAgent, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byUfrag[u.ufrag] == u {
		p.byAddr[from] = append(p.byAddr[from], u)
	}
}

func (p *udpPorts) remove(u *udpAgent, addrs []netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byUfrag, u.ufrag)
	delete(p.byTag, u.tagIn)
	for _, a := range addrs {
		var keep []*udpAgent
		for _, o := range p.byAddr[a] {
			if o != u {
				keep = append(keep, o)
			}
		}
		if keep == nil {
			delete(p.byAddr, a)
		} else {
			p.byAddr[a] = keep
		}
	}
}

// datagrams is a bounded queue of received datagrams: one writer, one reader.
type datagrams struct {
	mu       sync.Mutex // guards the fields below
	cond     sync.Cond
	queue    []*[maxDatagram]byte
	lens     []int
	err      error
	expired  bool
	open     bool
	dropped  atomic.Uint64
	spare    []*[maxDatagram]byte
	spareLen []int
}

// queueLen is how many datagrams wait for their reader: 2 MiB.
const queueLen = 1024

var datagramPool = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

func newDatagrams() *datagrams {
	q := &datagrams{open: true}
	q.cond.L = &q.mu
	return q
}

// put copies a datagram to the end of the queue, or drops it. ready tells the reader.
func (q *datagrams) put(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open || len(q.queue) >= queueLen {
		q.dropped.Add(1)
		return
	}
	mem := datagramPool.Get().(*[maxDatagram]byte)
	q.lens = append(q.lens, copy(mem[:], b))
	q.queue = append(q.queue, mem)
}

func (q *datagrams) ready() { q.cond.Broadcast() }

func (q *datagrams) fail(err error) {
	q.mu.Lock()
	if q.open {
		q.open, q.err = false, err
	}
	q.mu.Unlock()
	q.cond.Broadcast()
}

// take waits, and hands over all that is there.
func (q *datagrams) take(f func([]byte)) error {
	q.mu.Lock()
	for len(q.queue) == 0 && q.open && !q.expired {
		q.cond.Wait()
	}
	if len(q.queue) == 0 {
		defer q.mu.Unlock()
		if !q.open {
			return q.err
		}
		return errTimeout
	}
	list, lens := q.queue, q.lens
	q.queue, q.lens = q.spare[:0], q.spareLen[:0]
	q.spare, q.spareLen = nil, nil
	q.mu.Unlock()
	for i, mem := range list {
		f(mem[:lens[i]])
		datagramPool.Put(mem)
		list[i] = nil
	}
	q.mu.Lock()
	q.spare, q.spareLen = list, lens
	q.mu.Unlock()
	return nil
}
