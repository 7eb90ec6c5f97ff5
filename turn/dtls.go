package turn

import (
	"crypto"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/dtlsserver"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

const (
	// dtlsQueue is how many datagrams of handshakes wait for their goroutine: 256 × 2 KiB are 512 KiB. A handshake takes
	// 0.1 ms with an ECDSA key and 1 to 2 ms with an RSA key. What finds the queue full is sent again by its client.
	dtlsQueue = 256
	// dtlsDatagram is the longest that belongs to a handshake.
	dtlsDatagram = 2 << 10
	// dtlsRepeats is how often our timer sends a flight again: to an address that has proven itself.
	dtlsRepeats = 3
	// dtlsBurst is how much is sealed before it is sent: a batch of 64 full packets, and the longest record fits.
	dtlsBurst = 128 << 10
)

// dtlsSocket is what a listener has whose clients speak DTLS. They are in two tables: those whose handshake is under way
// and those who may send. Until a client has proven its address by a cookie it is in neither.
type dtlsSocket struct {
	*listener
	gate   *dtlsserver.Gate // the work goroutine's
	sealed []byte           // what listener.out has of ours; the work goroutine's

	mu      sync.Mutex // guards the fields below; never held together with a shard's
	pending map[alloc.FiveTuple]*dtlsClient
	clients map[alloc.FiveTuple]*dtlsClient
}

// dtlsClient is one client of a socket.
type dtlsClient struct {
	socket    *dtlsSocket
	tuple     alloc.FiveTuple
	arrived   netip.Addr            // of ours, where the socket has several
	handshake *dtlsserver.Handshake // dtlsLoop's
	session   *dtlsserver.Session   // set before it is in clients

	// Guarded by the socket's mu.
	begun     time.Time // the handshake; then since when it has no allocation
	repeats   int       // of the flight, by our timer
	allocated bool
	known     bool // no longer counted as a stranger
}

// dtlsJob is a datagram of a handshake, or says that our flight is to be sent again.
type dtlsJob struct {
	socket  *dtlsSocket
	tuple   alloc.FiveTuple
	arrived netip.Addr
	proven  bool         // a ClientHello whose cookie holds
	buf     *bufpool.Buf // nil: the flight
}

// dtlsStats count handshakes by how they ended.
type dtlsStats struct {
	asked, done, failed, timeout, refused, dropped atomic.Uint64
}

// listenDTLS gives every shard a socket of the address.
func (s *Server) listenDTLS(addr netip.AddrPort) error {
	first := len(s.shards[0].listeners)
	if err := s.listenUDP("dtls", addr); err != nil {
		return err
	}
	for _, sh := range s.shards {
		for _, l := range sh.listeners[min(first, len(sh.listeners)):] {
			l.secured = newDTLSSocket(l)
		}
	}
	return nil
}

func newDTLSSocket(l *listener) *dtlsSocket {
	return &dtlsSocket{
		listener: l, gate: dtlsserver.NewGate(), sealed: make([]byte, 0, dtlsBurst),
		pending: make(map[alloc.FiveTuple]*dtlsClient), clients: make(map[alloc.FiveTuple]*dtlsClient),
	}
}

// DTLSAddrs returns the addresses that are listened on over DTLS, in the order of the configuration.
func (s *Server) DTLSAddrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range s.shards[0].listeners {
		if l.secured != nil {
			addrs = append(addrs, l.local)
		}
	}
	return addrs
}

// secured says whether anybody is listened to over DTLS.
func (s *Server) secured() bool { return len(s.config.ListenDTLS) > 0 }

// expireSecured looks at clients' ends once a second.
func (s *Server) expireSecured(now time.Time) {
	if now.Sub(s.dtlsLooked) < time.Second {
		return
	}
	s.dtlsLooked = now
	for _, sh := range s.shards {
		for _, l := range sh.listeners {
			if l.secured != nil {
				l.secured.expire(now)
			}
		}
	}
}

// take deals with one datagram from the network. It belongs to the shard's goroutine.
func (k *dtlsSocket) take(w *worker, now time.Time, i int) {
	packet, arrived := w.up.Packet(i), w.up.To(i)
	tuple := k.tuple(w.up.From(i), arrived)
	k.datagram(w, now, tuple, arrived, packet, w.up.TOS(i))
}

func (k *dtlsSocket) datagram(w *worker, now time.Time, tuple alloc.FiveTuple, arrived netip.Addr, packet []byte, tos uint8) {
	k.mu.Lock()
	c, pending := k.clients[tuple], k.pending[tuple] != nil
	k.mu.Unlock()
	verdict, answer := dtlsserver.NoHello, []byte(nil)
	if c == nil || dtlsserver.MayBeHello(packet) { // a client that was restarted has to prove itself like any other
		verdict, answer = k.gate.Check(now, tuple.Client, packet, w.buf[:0])
	}
	switch {
	case verdict == dtlsserver.NoCookie:
		k.shard.server.dtlsStats.asked.Add(1)
		if !k.shard.allowStranger(now, tuple.Client.Addr()) {
			k.shard.stats.drop(DropStranger)
			return
		}
		w.answer.Add(answer, udp.Route{To: tuple.Client, From: arrived})
		k.conn.Send(w.answer)
	case verdict == dtlsserver.Proven, pending && (c == nil || dtlsserver.MayBeHandshake(packet)):
		k.enqueue(dtlsJob{socket: k, tuple: tuple, arrived: arrived, proven: verdict == dtlsserver.Proven}, packet)
	case c == nil:
		k.shard.stats.drop(DropGarbage)
	default:
		c.take(w, now, packet, tos)
	}
}

// enqueue hands a copy of a datagram to dtlsLoop.
func (k *dtlsSocket) enqueue(job dtlsJob, packet []byte) {
	s := k.shard.server
	if len(packet) > dtlsDatagram {
		k.shard.stats.drop(DropGarbage)
		return
	}
	job.buf = bufpool.Get(len(packet))
	copy(job.buf.Bytes(), packet)
	select {
	case s.dtlsJobs <- job:
	default:
		job.buf.Release()
		s.dtlsStats.dropped.Add(1)
	}
}

// take deals with what a client with a session sent.
func (c *dtlsClient) take(w *worker, now time.Time, packet []byte, tos uint8) {
	taken := false
	for len(packet) > 0 {
		var kind dtlsserver.Kind
		var content []byte
		kind, content, packet = c.session.Next(packet)
		switch {
		case kind == dtlsserver.Data && len(content) > 0 && isChannel(content[0]):
			taken = true
			w.uplink.channelData(now, c.tuple, content)
		case kind == dtlsserver.Data:
			taken = true
			w.message(now, c.socket.listener, c.tuple, c.arrived, content, tos, c)
		case kind == dtlsserver.Repeat:
			taken = true
			w.answer.Add(c.session.Final(w.buf[:0]), udp.Route{To: c.tuple.Client, From: c.arrived})
			c.socket.conn.Send(w.answer)
		case kind == dtlsserver.Closed:
			w.uplink.send()
			w.answer.Add(c.session.SealClose(w.buf[:0]), udp.Route{To: c.tuple.Client, From: c.arrived}) // RFC 5246 §7.2.1
			c.socket.conn.Send(w.answer)
			c.socket.end(c)
			return
		}
	}
	if !taken {
		w.shard.stats.drop(DropGarbage)
	}
}

// setAllocated notes that the client has an allocation, or no longer has one.
func (c *dtlsClient) setAllocated(allocated bool) {
	k := c.socket
	k.mu.Lock()
	c.allocated, c.begun = allocated, k.shard.server.now()
	introduce := allocated && !c.known
	c.known = c.known || allocated
	k.mu.Unlock()
	if introduce {
		k.shard.server.door.known(c.tuple.Client.Addr())
	}
}

// dtlsLoop works on handshakes, one after the other, so that the packets of others do not wait for signatures.
func (s *Server) dtlsLoop() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case job := <-s.dtlsJobs:
			job.socket.handshake(job)
			if job.buf != nil {
				job.buf.Release()
			}
		}
	}
}

// handshake takes one datagram of a handshake.
func (k *dtlsSocket) handshake(job dtlsJob) {
	s := k.shard.server
	k.mu.Lock()
	c := k.pending[job.tuple]
	k.mu.Unlock()
	send := func(datagrams ...[]byte) { k.send(job.tuple.Client, job.arrived, datagrams...) }
	if job.buf == nil {
		if c != nil {
			send(c.handshake.Flight()...)
		}
		return
	}
	if c != nil && job.proven && !c.handshake.Begins(job.buf.Bytes()) { // it gave up, and begins again
		s.dtlsStats.failed.Add(1)
		k.forget(c, k.pending)
		c = nil
	}
	if c == nil {
		if job.proven && !s.draining.Load() {
			k.begin(job, send)
		}
		return
	}
	session, answer, again, err := c.handshake.Take(job.buf.Bytes())
	switch {
	case err != nil:
		s.dtlsStats.failed.Add(1)
		k.forget(c, k.pending)
		send(dtlsserver.Alert(err))
	case again:
		send(c.handshake.Flight()...)
	case session != nil:
		k.open(c, session)
		send(answer)
	}
}

// send is for who is not the work goroutine.
func (k *dtlsSocket) send(client netip.AddrPort, from netip.Addr, datagrams ...[]byte) {
	out := k.shard.sends.Get().(*udp.SendBatch)
	for _, b := range datagrams {
		if out.Full() {
			k.conn.Send(out)
		}
		out.Add(b, udp.Route{To: client, From: from})
	}
	k.conn.Send(out)
	k.shard.sends.Put(out)
}

// begin answers a ClientHello, unless there are too many clients.
func (k *dtlsSocket) begin(job dtlsJob, send func(...[]byte)) {
	s := k.shard.server
	if !s.door.enter(job.tuple.Client.Addr()) {
		s.dtlsStats.refused.Add(1)
		return
	}
	var conf dtlsserver.Config
	if cert := s.cert.now(); cert != nil { // without one the handshake fails with an alert
		key, _ := cert.PrivateKey.(crypto.Signer)
		conf = dtlsserver.Config{Chain: cert.Certificate, Key: key, Protocols: protocols}
	}
	h, err := dtlsserver.Begin(&conf, job.buf.Bytes())
	if err != nil {
		s.dtlsStats.failed.Add(1)
		s.door.known(job.tuple.Client.Addr())
		s.door.leave()
		send(dtlsserver.Alert(err))
		return
	}
	k.mu.Lock()
	k.pending[job.tuple] = &dtlsClient{
		socket: k, tuple: job.tuple, arrived: job.arrived, handshake: h, begun: s.now(),
	}
	k.mu.Unlock()
	send(h.Flight()...)
}

// open lets a client in. One that had the 5-tuple before is gone: RFC 6347 §4.2.8.
func (k *dtlsSocket) open(c *dtlsClient, session *dtlsserver.Session) {
	s := k.shard.server
	s.dtlsStats.done.Add(1)
	c.handshake, c.session = nil, session
	k.mu.Lock()
	before := k.clients[c.tuple]
	k.mu.Unlock()
	if before != nil {
		k.end(before)
	}
	k.mu.Lock()
	delete(k.pending, c.tuple)
	c.begun = s.now()
	k.clients[c.tuple] = c
	k.mu.Unlock()
}

// end ends a client, and its allocation unless that can move.
func (k *dtlsSocket) end(c *dtlsClient) {
	if k.forget(c, k.clients) {
		k.shard.hangUp(c.tuple)
	}
}

// forget takes a client out of its table, and says whether it was there.
func (k *dtlsSocket) forget(c *dtlsClient, table map[alloc.FiveTuple]*dtlsClient) bool {
	k.mu.Lock()
	there := table[c.tuple] == c
	if there {
		delete(table, c.tuple)
	}
	introduce := there && !c.known
	c.known = true
	k.mu.Unlock()
	if introduce {
		k.shard.server.door.known(c.tuple.Client.Addr())
	}
	if there {
		k.shard.server.door.leave()
	}
	return there
}

// expire ends what took too long: a handshake, or a session without an allocation. It sends flights again that are not
// answered, after 1, 2 and 4 s: RFC 6347 §4.2.4. Most clients ask for them, but GnuTLS does not when it has a part.
func (k *dtlsSocket) expire(now time.Time) {
	config := &k.shard.server.config
	var late, idle []*dtlsClient
	k.mu.Lock()
	for _, c := range k.pending {
		if now.Sub(c.begun) >= config.FirstMessage {
			late = append(late, c)
		} else if c.repeats < dtlsRepeats && now.Sub(c.begun) >= time.Second<<c.repeats {
			c.repeats++
			select {
			case k.shard.server.dtlsJobs <- dtlsJob{socket: k, tuple: c.tuple, arrived: c.arrived}:
			default: // as if it were lost
			}
		}
	}
	for _, c := range k.clients {
		if !c.allocated && now.Sub(c.begun) >= config.Unallocated {
			idle = append(idle, c)
		}
	}
	k.mu.Unlock()
	for _, c := range late {
		if k.forget(c, k.pending) {
			k.shard.server.dtlsStats.timeout.Add(1)
		}
	}
	for _, c := range idle {
		k.end(c)
		k.send(c.tuple.Client, c.arrived, c.session.SealClose(nil))
	}
}

// toSecured sends a datagram to a client that speaks DTLS.
func (w *worker) toSecured(c *client, i int, number uint16) bool {
	frame := w.whole(i, number, 0)
	return frame != nil && w.seal(c, frame, w.down.TOS(i))
}

// seal leaves a message with the listener, sealed; false: it is dropped. One message is one record: RFC 7350 §4.1.
func (w *worker) seal(c *client, frame []byte, tos uint8) bool {
	l := c.listener
	k := l.secured
	if len(frame) > dtlsserver.MaxContent {
		w.shard.stats.drop(DropTooBig)
		return false
	}
	if l.out.Full() || len(k.sealed)+len(frame)+dtlsserver.Overhead > cap(k.sealed) {
		l.deliver()
	}
	begin := len(k.sealed)
	sealed := c.secured.session.Seal(k.sealed, frame)
	if sealed == nil { // it has used up its records: 2^48
		w.shard.stats.drop(DropSend)
		return false
	}
	k.sealed = sealed
	l.out.Add(sealed[begin:], udp.Route{To: c.addr, From: c.from, TOS: tos})
	return true
}

// dtlsCounts returns how many clients there are in the two tables.
func (s *Server) dtlsCounts() (pending, open int) {
	for _, sh := range s.shards {
		for _, l := range sh.listeners {
			if k := l.secured; k != nil {
				k.mu.Lock()
				pending, open = pending+len(k.pending), open+len(k.clients)
				k.mu.Unlock()
			}
		}
	}
	return pending, open
}
