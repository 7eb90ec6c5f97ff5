package turn

import (
	"sync"

	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// shard owns the allocations of a part of the clients: its work goroutine takes what comes for them at its listening sockets
// and at their relayed ones. No other shard ever waits for it.
type shard struct {
	server    *Server
	index     int
	listeners []*listener // its socket of each UDP listener; set before Serve
	poller    *udp.Poller // of those, and of relayed sockets
	stats     counters
	shared    [2][]*sharedRelay // by family; set before Serve
	sends     *sync.Pool        // of *udp.SendBatch, for who is not the work goroutine

	mu        sync.Mutex // guards the fields below; never held while a socket is used
	table     *alloc.Table
	strangers *strangers
	closed    bool // no more allocations
	mobile    map[ticketID]*alloc.Allocation
	directs   map[*direct]struct{}

	mostDirects int // set before Serve
}

func newShard(s *Server, index int) (*shard, error) {
	sh := &shard{
		server:    s,
		index:     index,
		table:     alloc.NewTable(s.config.Limits, s.now()),
		strangers: newStrangers(s.config.StrangerRate),
		mobile:    make(map[ticketID]*alloc.Allocation),
		directs:   make(map[*direct]struct{}),

		mostDirects: udp.MaxToward() / s.config.Shards,
	}
	sh.sends = &sync.Pool{New: func() any { return udp.NewSendBatch(&sh.stats.io) }}
	var err error
	sh.poller, err = udp.NewPoller(&sh.stats.io)
	return sh, err
}

// close ends the work goroutine and lets no datagram in any more.
func (sh *shard) close() {
	_ = sh.poller.Close()
	for _, l := range sh.listeners {
		_ = l.conn.Close()
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
