package turn

import (
	stdtls "crypto/tls"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

const (
	// streamBuffer is what one read takes at most, ten full packets. It is borrowed while there is something to read.
	streamBuffer = 16 << 10
	// controlRoom is what answers may use beyond the backlog of datagrams. A client that lets so many wait is closed.
	controlRoom = 64 << 10
	// writeTimeout ends a connection whose client takes nothing for so long.
	writeTimeout = 30 * time.Second
)

// errFrame ends a connection that sends what is no TURN.
var errFrame = errors.New("turn: not a stun message or channel data")

// stream is a client's TCP connection: a control connection, until a ConnectionBind makes it a data connection.
//
// Its reader is one goroutine. Anyone may write: most writes go straight to the kernel; what does not fit waits in a
// backlog that a second goroutine writes, which exists only then.
type stream struct {
	server  *Server
	shard   *shard
	conn    net.Conn // tcp, or secured
	tcp     *net.TCPConn
	secure  *stdtls.Conn    // nil: plain TCP
	records *recordConn     // below secure
	raw     syscall.RawConn // nil: secured
	tuple   alloc.FiveTuple
	opened  time.Time
	uplink  uplink
	known   bool // no longer counted as a stranger
	wide    bool // it has a channel of RFC 5766
	reader  streamReader
	buf     *bufpool.Buf // what was read and not yet understood; nil: nothing
	have    int          // bytes of buf
	answer  [512]byte    // answers are built here; longer ones are allocated

	spoken    atomic.Bool // a whole message came
	mu        sync.Mutex  // guards the fields below
	allocated bool        // it has an allocation
	lonely    time.Time   // since when it has none
	partial   time.Time   // since when a part of a frame waits; zero: none does
	deadline  time.Time   // as it was set

	out outbox
}

// newStream takes a connection in, or says that it has to be refused.
func (s *Server) newStream(conn *net.TCPConn, client netip.AddrPort, transport alloc.Transport) (*stream, bool) {
	local := addrPortOf(conn.LocalAddr())
	if !s.door.enter(client.Addr()) {
		return nil, false
	}
	st := &stream{
		server: s,
		shard:  s.shards[maphash.Comparable(shardSeed, client)%uint64(len(s.shards))],
		conn:   conn,
		tcp:    conn,
		tuple:  alloc.FiveTuple{Client: client, Server: local, Transport: transport},
		opened: time.Now(),
	}
	st.lonely = st.opened
	st.uplink = uplink{shard: st.shard}
	var err error
	if transport == alloc.TLS {
		config := s.askDevice(s.offerPush(s.cert.tlsConfig()))
		st.records = &recordConn{TCPConn: conn, exact: newExactReader(conn, config)}
		st.secure = stdtls.Server(st.records, config) // its handshake comes with the first read
		st.conn = st.secure
	} else {
		st.raw, err = conn.SyscallConn()
	}
	st.bindCallbacks()
	st.out.idle.L = &st.out.mu

	s.streamsMu.Lock()
	closing := s.ctx.Err() != nil
	if !closing && err == nil {
		s.streams[st] = struct{}{}
	}
	s.streamsMu.Unlock()
	if closing || err != nil {
		s.door.known(client.Addr())
		s.door.leave()
		return nil, false
	}
	return st, true
}

// shardSeed spreads streams over shards.
var shardSeed = maphash.MakeSeed()

// serve reads until the connection ends, and takes everything with it that depended on it: RFC 8656 §5, RFC 6062 §5.5.
func (st *stream) serve() {
	defer st.close()
	for {
		st.setDeadline()
		if st.secure != nil && st.pushed() {
			return
		}
		if err := st.read(); err != nil {
			return
		}
		if st.secure == nil && st.pushed() {
			return
		}
		bound, err := st.frames()
		if err != nil {
			return
		}
		if bound != nil {
			st.join(bound)
			return
		}
	}
}

func (st *stream) close() {
	s := st.server
	_ = st.conn.Close()
	st.drop()
	st.shard.hangUp(st.tuple)
	st.introduce()
	s.door.leave()
	s.streamsMu.Lock()
	delete(s.streams, st)
	s.streamsMu.Unlock()
}

// introduce counts the connection no longer as a stranger's. Only the reader calls it.
func (st *stream) introduce() {
	if !st.known {
		st.known = true
		st.server.door.known(st.tuple.Client.Addr())
	}
}

// frames deals with the whole frames in the buffer and keeps the rest. A connection is returned when a ConnectionBind
// bound it; the rest is then what was sent behind that.
func (st *stream) frames() (*alloc.Conn, error) {
	b := st.buf.Bytes()[:st.have]
	now := st.server.now()
	for len(b) > 0 {
		n, need, err := st.frameLen(b)
		if err != nil {
			return nil, err
		}
		if need > 0 {
			st.uplink.flush()
			st.keep(b, max(n, len(b)+need))
			return nil, nil
		}
		bound, err := st.frame(now, b[:n])
		if err != nil {
			return nil, err
		}
		b = b[n:]
		if bound != nil {
			st.have = copy(st.buf.Bytes(), b)
			return bound, nil
		}
	}
	st.uplink.flush()
	st.drop()
	return nil, nil
}

// frame deals with one frame.
func (st *stream) frame(now time.Time, b []byte) (*alloc.Conn, error) {
	if stun.KindOf(b[0]) != stun.KindSTUN {
		st.heard()
		st.uplink.channelData(now, st.tuple, b)
		return nil, nil
	}
	msg, err := stun.Parse(b)
	if err != nil || msg.CheckFingerprint() == stun.ErrFingerprint {
		return nil, errFrame // a stream loses no bits: this is somebody else's protocol
	}
	st.heard()
	switch msg.Type().Class {
	case stun.ClassIndication:
		st.uplink.indication(now, st.tuple, msg, 0)
	case stun.ClassRequest:
		st.uplink.flush() // what came before it goes out before it
		r := new(request)
		r.take(st.shard, now, st.tuple, msg, st.answer[:0])
		r.stream = st
		answer := r.serve()
		if r.bound != nil {
			return r.bound, st.writeLast(answer, r.bound)
		}
		if answer != nil && !st.sendControl(answer) {
			return nil, net.ErrClosed
		}
	default:
		st.shard.stats.drop(DropGarbage) // responses are not for servers
	}
	return nil, nil
}

// keep moves the beginning of a frame to the front of a buffer that has room for all of it.
func (st *stream) keep(b []byte, size int) {
	if size <= len(st.buf.Bytes()) {
		st.have = copy(st.buf.Bytes(), b)
	} else {
		larger := bufpool.Get(size)
		st.have = copy(larger.Bytes(), b)
		st.buf.Release()
		st.buf = larger
	}
	st.mu.Lock()
	if st.partial.IsZero() {
		st.partial = time.Now()
	}
	st.mu.Unlock()
}

// drop gives the buffer back.
func (st *stream) drop() {
	if st.buf != nil {
		st.buf.Release()
		st.buf, st.have = nil, 0
	}
}

// heard notes that a whole frame came.
func (st *stream) heard() {
	st.spoken.Store(true)
	st.mu.Lock()
	st.partial = time.Time{}
	st.mu.Unlock()
}

// setAllocated notes that the connection has an allocation, or no longer has one.
func (st *stream) setAllocated(allocated bool) {
	st.mu.Lock()
	st.allocated, st.lonely = allocated, time.Now()
	st.mu.Unlock()
	if allocated {
		st.introduce()
		st.readFreely()
	} else {
		st.setDeadline()
	}
}

// readFreely ends the reading record by record: the connection will not be the kernel's.
func (st *stream) readFreely() {
	if st.records != nil && st.records.exact != nil {
		st.records.exact.wide.Store(true)
		st.records.exact.secrets.Forget()
	}
}

// setDeadline gives the reader the time that it has: for a first message, for an allocation, for the rest of a message.
// With an allocation and between messages it has as much as it wants.
func (st *stream) setDeadline() {
	st.mu.Lock()
	defer st.mu.Unlock()
	var end time.Time
	switch config := &st.server.config; {
	case !st.spoken.Load():
		end = st.opened.Add(config.FirstMessage)
	case !st.allocated:
		end = st.lonely.Add(config.Unallocated)
	case !st.partial.IsZero():
		end = st.partial.Add(config.Unallocated)
	}
	if end != st.deadline {
		st.deadline = end
		_ = st.conn.SetReadDeadline(end)
	}
}

// source is a peer's address as the table and the policy know it.
func source(conn *net.TCPConn) netip.AddrPort {
	a := addrPortOf(conn.RemoteAddr())
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}
