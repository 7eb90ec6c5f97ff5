package turn

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/offload"
	"traverse.internal/turn/alloc"
)

// Offloader relays channels without this process: core/offload's Relay, or a test's.
type Offloader interface {
	Insert(offload.Flow) (offload.Handle, error)
	Renew(offload.Handle, time.Duration)
	Meter(h offload.Handle, up, down offload.Bucket)
	Stop(offload.Handle)
	Counts(offload.Handle) offload.Both
	Release(offload.Handle)
	NewBucket() (offload.Bucket, bool)
	Grant(offload.Bucket, int64) int64
	FreeBucket(offload.Bucket)
	Invalidate()
	Sweep()
	Stats() offload.Stats
}

const (
	// offloadSweep is in how many ticks leases are renewed and counts read: once a second.
	offloadSweep = int(time.Second / tick)
	// offloadLease outlives one sweep that comes late. What ends sooner has the shorter lease.
	offloadLease = 2500 * time.Millisecond
	// offloadTries is how often a channel is offered, tick by tick, that another's addresses are in the way of: those of one
	// that has ended are gone with the next one.
	offloadTries = 5
	// offloadAgain is when a channel that was refused is offered again: the table may have room then, or the peer a route. It
	// doubles with each refusal, up to offloadAtLast.
	offloadAgain  = time.Second
	offloadAtLast = time.Minute
	// offloadBatch is how many are offered again at once, at most; a refusal costs some microseconds.
	offloadBatch = 256
)

// offloaded is a channel that is relayed past this process, or is going to be.
type offloaded struct {
	relay  *relay // the half that reaches the peer
	number uint16
	peer   netip.AddrPort

	handle offload.Handle // guarded by the shard's lock; 0: not yet
	ended  bool           // guarded by the shard's lock: the relayed address is freed

	// Of the goroutine that ticks.
	tuple alloc.FiveTuple // that it was inserted for
	seen  offload.Both    // counted already
	over  bool            // stopped; what was on its way then is counted with the next tick
	tries int             // in vain, because of another's addresses
	wait  time.Duration   // for the next offer, after it was refused; 0: it was not
	due   time.Time       // the next offer
}

// kernel is what the server knows of the channels that are relayed past it. Without an Offloader nothing here does anything.
type kernel struct {
	server *Server
	off    Offloader
	moved  [2][2]moved // by direction and family
	stale  atomic.Bool // the policy has changed since leases were renewed

	mu     sync.Mutex // guards the fields below
	wanted []*offloaded
	sweeps int // that have ended

	// Of the goroutine that ticks.
	flows   map[*offloaded]struct{}
	later   []*offloaded // refused, to be offered again
	meters  map[*relay]*meter
	policy  *policy // that the flows were judged by
	metered bool    // as the flows are
	ticks   int
}

// offer has a channel relayed past this process, soon, if that can be. A channel that is bound anew is known already. It
// expects the shard's lock; r is the half that reaches the peer.
func (r *relay) offer(number uint16, peer netip.AddrPort) {
	k := &r.shard.server.kernel
	if k.off == nil || r.alloc.Tuple.Transport != alloc.UDP || relayOf(r.alloc).ticket != nil { // which may move
		return
	}
	if f := r.offloads[number]; f != nil && f.peer == peer {
		return
	}
	f := &offloaded{relay: r, number: number, peer: peer}
	if r.offloads == nil {
		r.offloads = make(map[uint16]*offloaded)
	}
	r.offloads[number] = f
	k.want(f)
}

func (k *kernel) want(f *offloaded) {
	k.mu.Lock()
	k.wanted = append(k.wanted, f)
	k.mu.Unlock()
}

// holdLocked has everything of a relayed address come up at once; the next sweep decides what goes on.
func (r *relay) holdLocked() {
	for _, f := range r.offloads {
		if f.handle != 0 {
			r.shard.server.kernel.off.Renew(f.handle, 0)
		}
	}
}

// endOffloads does the same for good, when the relayed address is freed.
func (r *relay) endOffloads() {
	if r.shard.server.kernel.off == nil {
		return
	}
	r.shard.mu.Lock()
	defer r.shard.mu.Unlock()
	r.holdLocked()
	for _, f := range r.offloads {
		f.ended = true
	}
	r.shard.server.kernel.stale.Store(true) // its port may have a new owner soon
}

// invalidate has everything come up until the next tick, which judges it by the new policy.
func (k *kernel) invalidate() {
	if k.off != nil {
		k.off.Invalidate()
		k.stale.Store(true)
	}
}

// tick takes in what is wanted and, once a second or when something has changed, looks at every flow. It belongs to
// expireLoop.
func (k *kernel) tick(now time.Time) {
	if k.off == nil {
		return
	}
	if k.flows == nil {
		k.flows, k.meters = make(map[*offloaded]struct{}), make(map[*relay]*meter)
	}
	k.ticks++
	metered := k.server.metered.Load()
	regular := k.ticks%offloadSweep == 0
	policy := k.server.policy.current.Load()
	judge := policy != k.policy
	k.policy = policy
	if k.stale.Swap(false) || regular || metered || judge {
		for f := range k.flows {
			k.look(now, f, judge)
		}
	}
	k.mu.Lock()
	wanted := k.wanted
	k.wanted = nil
	k.mu.Unlock()
	if regular {
		wanted = append(wanted, k.takeDue(now)...)
	}
	for _, f := range wanted {
		k.insert(now, f)
	}
	k.meter(metered)
	if regular {
		k.off.Sweep()
		k.mu.Lock()
		k.sweeps++
		k.mu.Unlock()
	}
}

// insert puts a channel into the kernel's table. Who is refused stays here, and is offered again later.
func (k *kernel) insert(now time.Time, f *offloaded) {
	r, sh := f.relay, f.relay.shard
	sh.mu.Lock()
	f.tuple = r.alloc.Tuple
	skip := f.ended || f.tuple.Transport != alloc.UDP || r.alloc.ChannelUntil(now, f.number, f.peer).IsZero()
	sh.mu.Unlock()
	var h offload.Handle
	var err error
	if !skip {
		h, err = k.off.Insert(offload.Flow{
			Client: f.tuple.Client, Server: f.tuple.Server, Relayed: r.at, Peer: f.peer, Channel: f.number, Again: f.wait > 0,
		})
	}
	if errors.Is(err, offload.ErrClash) && f.tries < offloadTries {
		f.tries++
		k.want(f)
		return
	}
	if skip || errors.Is(err, offload.ErrClosed) {
		k.forget(f)
		return
	}
	if err != nil {
		if !errors.Is(err, offload.ErrFamily) && !errors.Is(err, offload.ErrScope) { // which stay as they are
			k.postpone(now, f)
		}
		return
	}
	sh.mu.Lock()
	f.handle = h
	sh.mu.Unlock()
	k.flows[f] = struct{}{}
	k.open(f, k.server.metered.Load())
	if !f.over {
		f.wait = 0
	}
	k.look(now, f, true)
}

// postpone has a channel offered again, each time later.
func (k *kernel) postpone(now time.Time, f *offloaded) {
	f.wait = min(max(offloadAgain, 2*f.wait), offloadAtLast)
	f.due = now.Add(f.wait)
	k.later = append(k.later, f)
}

// again has a channel offered later that was taken, and could not be kept.
func (k *kernel) again(f *offloaded) {
	next := &offloaded{relay: f.relay, number: f.number, peer: f.peer, wait: f.wait}
	f.relay.shard.mu.Lock()
	ours := f.relay.offloads[f.number] == f
	if ours {
		f.relay.offloads[f.number] = next
	}
	next.ended = f.ended
	f.relay.shard.mu.Unlock()
	if ours {
		k.postpone(k.server.now(), next)
	}
}

// takeDue returns what is to be offered again now.
func (k *kernel) takeDue(now time.Time) (due []*offloaded) {
	k.later = slices.DeleteFunc(k.later, func(f *offloaded) bool {
		if len(due) == offloadBatch || now.Before(f.due) {
			return false
		}
		due = append(due, f)
		return true
	})
	return due
}

// forget lets the channel be offered again.
func (k *kernel) forget(f *offloaded) {
	f.relay.shard.mu.Lock()
	defer f.relay.shard.mu.Unlock()
	if f.relay.offloads[f.number] == f {
		delete(f.relay.offloads, f.number)
	}
}

// look counts what a flow has relayed, and renews its lease or ends it.
func (k *kernel) look(now time.Time, f *offloaded, judge bool) {
	r := f.relay
	k.count(f)
	if f.over {
		k.off.Release(f.handle)
		delete(k.flows, f)
		k.shut(r)
		return
	}
	r.shard.mu.Lock()
	var until time.Time
	if !f.ended {
		until = r.alloc.ChannelUntil(now, f.number, f.peer)
	}
	moved := r.alloc.Tuple != f.tuple
	r.shard.mu.Unlock()
	if judge && k.policy.endpoint(f.peer, r.ownRelayed) != Allowed {
		until = time.Time{}
	}
	if !until.IsZero() && !moved {
		k.off.Renew(f.handle, min(until.Sub(now), offloadLease))
		return
	}
	k.off.Stop(f.handle)
	f.over = true
	k.forget(f)
	if moved && !until.IsZero() {
		r.shard.mu.Lock()
		r.offer(f.number, f.peer)
		r.shard.mu.Unlock()
	}
}

// count adds to session and server what a flow has relayed since the last time.
func (k *kernel) count(f *offloaded) {
	both := k.off.Counts(f.handle)
	for dir, c := range [2]struct{ now, before offload.Counts }{{both.Up, f.seen.Up}, {both.Down, f.seen.Down}} {
		packets, bytes := c.now.Packets-c.before.Packets, c.now.Bytes-c.before.Bytes
		for _, m := range []*moved{&f.relay.moved[dir], &k.moved[dir][f.relay.family]} {
			m.packets.Add(packets)
			m.bytes.Add(bytes)
		}
	}
	f.seen = both
}

// end counts what is left, when nobody ticks any more and every relayed address is freed.
func (k *kernel) end() {
	for f := range k.flows {
		k.off.Stop(f.handle)
	}
	for f := range k.flows {
		k.count(f)
		k.off.Release(f.handle)
		k.shut(f.relay)
	}
	clear(k.flows)
}

// offloadedLocked is how many channels are relayed past this process.
func (r *relay) offloadedLocked() (n int) {
	for _, f := range r.offloads {
		if f.handle != 0 {
			n++
		}
	}
	return n
}
