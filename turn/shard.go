package turn

import (
	crand "crypto/rand"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// shard owns the allocations of a part of the clients.
type shard struct {
	server *Server
	index  int
	conns  []*udp.Conn // its socket of each UDP listener; set before Serve
	stats  counters

	mu        sync.Mutex // guards the fields below; never held while a socket is used
	table     *alloc.Table
	strangers *strangers
	ids       *rand.ChaCha8 // transaction ids of indications
	closed    bool          // no more allocations
	mobile    map[ticketID]*alloc.Allocation
}

func newShard(s *Server, index int) *shard {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails since Go 1.24
	return &shard{
		server:    s,
		index:     index,
		table:     alloc.NewTable(s.config.Limits, s.now()),
		strangers: newStrangers(s.config.StrangerRate),
		ids:       rand.NewChaCha8(seed),
		mobile:    make(map[ticketID]*alloc.Allocation),
	}
}

// datagrams is one goroutine's work: what arrives at one listening socket.
type datagrams struct {
	shard  *shard
	conn   *udp.Conn
	local  netip.AddrPort
	uplink uplink
	answer *udp.SendBatch
	buf    [1 << 10]byte // answers are built here; longer ones are allocated
}

// readDatagrams works until the socket is closed.
func (sh *shard) readDatagrams(conn *udp.Conn) error {
	d := &datagrams{
		shard:  sh,
		conn:   conn,
		local:  conn.LocalAddr(),
		uplink: uplink{shard: sh},
		answer: udp.NewSendBatch(),
	}
	for {
		in, err := conn.Recv(sh.server.pool)
		if err != nil {
			return err
		}
		now := sh.server.now()
		for i := range in.Len() {
			d.take(now, in, i)
		}
		d.uplink.flush()
		sh.server.pool.Put(in)
	}
}

// take deals with one datagram.
func (d *datagrams) take(now time.Time, in *udp.RecvBatch, i int) {
	packet := in.Packet(i)
	tuple := alloc.FiveTuple{Client: in.From(i), Server: d.local, Transport: alloc.UDP}
	arrived := in.To(i)
	if arrived.IsValid() {
		tuple.Server = netip.AddrPortFrom(arrived, d.local.Port())
	}
	if len(packet) == 0 {
		d.shard.stats.drop(DropGarbage)
		return
	}
	switch kind := stun.KindOf(packet[0]); {
	case kind == stun.KindChannelData, isWide(packet[0]):
		d.uplink.channelData(now, tuple, packet)
	case kind == stun.KindSTUN:
		msg, err := stun.Parse(packet)
		if err != nil || msg.CheckFingerprint() == stun.ErrFingerprint {
			d.shard.stats.drop(DropGarbage)
			return
		}
		switch msg.Type().Class {
		case stun.ClassIndication:
			d.uplink.indication(now, tuple, msg)
		case stun.ClassRequest:
			d.uplink.flush() // what came before it goes out before it
			r := newRequest(d.shard, now, tuple, msg, d.buf[:0])
			r.conn, r.arrived = d.conn, arrived
			if answer := r.serve(); answer != nil {
				d.answer.Add(answer, tuple.Client, arrived)
				d.conn.Send(d.answer)
			}
		default:
			d.shard.stats.drop(DropGarbage) // responses are not for servers
		}
	default:
		d.shard.stats.drop(DropGarbage)
	}
}

// endAll ends every allocation and lets no new one in.
func (sh *shard) endAll() {
	sh.mu.Lock()
	sh.closed = true
	var all []*alloc.Allocation
	var conns []*alloc.Conn
	for a := range sh.table.All {
		all = append(all, a)
	}
	for _, a := range all {
		conns = append(conns, sh.table.Remove(a)...)
	}
	sh.mu.Unlock()
	for _, c := range conns {
		sh.server.closeConn(c)
	}
	for _, a := range all {
		relayOf(a).close()
	}
}

// end ends the allocation of a 5-tuple, and says whether there was one.
func (sh *shard) end(tuple alloc.FiveTuple) bool {
	sh.mu.Lock()
	a := sh.table.Lookup(tuple)
	if a == nil {
		sh.mu.Unlock()
		return false
	}
	conns := sh.table.Remove(a)
	sh.mu.Unlock()
	for _, c := range conns {
		sh.server.closeConn(c)
	}
	relayOf(a).close()
	return true
}
