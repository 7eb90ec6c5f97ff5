package turn

import (
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"time"

	"traverse.internal/core/dtlsserver"
	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// listener is one of the sockets at which clients are listened to over UDP.
type listener struct {
	shard *shard
	conn  *udp.Conn
	local netip.AddrPort
	out   *udp.SendBatch // what peers sent to its clients; the work goroutine's

	secured *dtlsSocket // whose clients speak DTLS; nil: plain

	discovery *discovery // nil: it answers Binding alone, RFC 5780
	corner    [2]int     // which of its four sockets this is
}

// worker is what a shard's one goroutine works with.
type worker struct {
	shard   *shard
	ready   [udp.BatchLen]udp.Ready
	up      *udp.RecvBatch // of clients
	down    *udp.RecvBatch // of peers
	uplink  uplink
	request request // that is served now
	run     channelRun
	answer  *udp.SendBatch
	ids     *rand.ChaCha8                                     // transaction ids of indications
	frame   [udp.Headroom + udp.MaxPacket + udp.Tailroom]byte // of a stream, where it cannot be built in place
	buf     [1 << 10]byte                                     // answers are built here; longer ones are allocated
	sealed  [1<<10 + dtlsserver.Overhead]byte                 // and sealed here
}

// fairShare is how many messages one relayed socket has of a batch when many have something.
const fairShare = 16

func newWorker(sh *shard) *worker {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails since Go 1.24
	io := &sh.stats.io
	return &worker{
		shard:  sh,
		up:     udp.NewRecvBatch(io),
		down:   udp.NewRecvBatch(io),
		uplink: uplink{shard: sh, connects: true},
		answer: udp.NewSendBatch(io),
		ids:    rand.NewChaCha8(seed),
	}
}

// work takes what comes at the shard's sockets, until the shard is closed or a listening socket is broken.
func (sh *shard) work() error {
	w := newWorker(sh)
	for _, l := range sh.listeners {
		if err := sh.poller.Add(l.conn, l); err != nil {
			return err
		}
	}
	for _, family := range sh.shared {
		for _, one := range family {
			if err := sh.poller.Add(one.conn, one); err != nil {
				return err
			}
		}
	}
	if runtime.GOMAXPROCS(0) > len(sh.server.shards) { // one stays for everybody else
		sh.poller.Hold()
	}
	for {
		n, err := sh.poller.Wait(w.ready[:])
		if err != nil {
			return err
		}
		share := max(fairShare, udp.BatchLen/n)
		now := sh.server.now()
		for i := range n {
			switch owner := w.ready[i].Owner.(type) {
			case *listener:
				err = w.fromClients(now, owner)
			case *relay:
				if w.fromPeers(now, owner.udp, owner, nil, w.ready[i].Failed, share) != nil {
					_ = owner.udp.Close() // what is broken would come again and again
				}
			case *direct:
				owner.used = true
				if w.fromPeers(now, owner.conn, owner.relay, nil, w.ready[i].Failed, share) != nil {
					owner.relay.disconnect()
				}
			case *sharedRelay:
				err = w.fromPeers(now, owner.conn, nil, owner, w.ready[i].Failed, share)
			}
			if err != nil {
				return err
			}
		}
		w.deliver()
		clear(w.ready[:n]) // idle, it keeps no closed relay alive
	}
}

// fromClients takes what waits at a listening socket.
func (w *worker) fromClients(now time.Time, l *listener) error {
	w.up.Reset()
	if _, err := l.conn.Recv(w.up, udp.BatchLen); err != nil {
		return err
	}
	for i := 0; i < w.up.Len(); {
		if l.secured != nil {
			l.secured.take(w, now, i)
			i++
			continue
		}
		if packet := w.up.Packet(i); len(packet) > 0 && isChannel(packet[0]) {
			i = w.channels(now, l, i)
			continue
		}
		w.take(now, l, i)
		i++
	}
	w.uplink.flush()
	return nil
}

// take deals with a datagram that is not ChannelData.
func (w *worker) take(now time.Time, l *listener, i int) {
	arrived := w.up.To(i)
	w.message(now, l, l.tuple(w.up.From(i), arrived), arrived, w.up.Packet(i), w.up.TOS(i), nil)
}

// message deals with what should be a STUN message. via is who sent it, over DTLS.
func (w *worker) message(now time.Time, l *listener, tuple alloc.FiveTuple, arrived netip.Addr, packet []byte, tos uint8, via *dtlsClient) {
	sh := w.shard
	if len(packet) == 0 || stun.KindOf(packet[0]) != stun.KindSTUN {
		sh.stats.drop(DropGarbage)
		return
	}
	msg, err := stun.Parse(packet)
	if err != nil || msg.CheckFingerprint() == stun.ErrFingerprint {
		sh.stats.drop(DropGarbage)
		return
	}
	switch msg.Type().Class {
	case stun.ClassIndication:
		w.uplink.indication(now, tuple, msg, tos)
	case stun.ClassRequest:
		w.uplink.send() // what came before it goes out before it
		r := &w.request
		r.take(sh, now, tuple, msg, w.buf[:0])
		r.listener, r.arrived, r.secured = l, arrived, via
		answer := r.serve()
		if via != nil && answer != nil {
			answer = via.session.Seal(w.sealed[:0], answer)
		}
		if answer != nil {
			w.answer.Add(answer, udp.Route{To: tuple.Client, From: arrived})
			if r.origin != nil {
				l = r.origin
			}
			l.conn.Send(w.answer)
		}
	default:
		sh.stats.drop(DropGarbage) // responses are not for servers
	}
}

// tuple is the 5-tuple of a client that was heard at one of our addresses; the zero Addr where there is only one.
func (l *listener) tuple(client netip.AddrPort, arrived netip.Addr) alloc.FiveTuple {
	t := alloc.FiveTuple{Client: client, Server: l.local, Transport: alloc.UDP}
	if l.secured != nil {
		t.Transport = alloc.DTLS
	}
	if arrived.IsValid() {
		t.Server = netip.AddrPortFrom(arrived, l.local.Port())
	}
	return t
}

// fromPeers takes what waits at a relayed socket, and leaves it with the listeners or streams. In the same batch lies what
// other relayed sockets had, so that it goes to their clients with one system call. The socket is one allocation's, or shared. The
// error is that of a socket that is broken.
func (w *worker) fromPeers(now time.Time, conn *udp.Conn, one *relay, shared *sharedRelay, failed bool, share int) error {
	if failed {
		w.errors(now, conn, one, shared)
	}
	if w.down.Room() == 0 {
		w.deliver()
	}
	before := w.down.Len()
	n, err := conn.Recv(w.down, share)
	if errors.Is(err, net.ErrClosed) {
		return nil // with its allocation, or the server
	}
	if n > 0 {
		w.toClient(now, one, shared, before)
	}
	return err
}

// deliver sends what was left with the listeners, and empties the batch that it lay in.
func (w *worker) deliver() {
	for _, l := range w.shard.listeners {
		l.deliver()
	}
	w.down.Reset()
}

// deliver sends what was left with the listener.
func (l *listener) deliver() {
	if l.out.Len() > 0 {
		l.shard.stats.dropped(l.conn.Send(l.out))
	}
	if l.secured != nil {
		l.secured.sealed = l.secured.sealed[:0]
	}
}
