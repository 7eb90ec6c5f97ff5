//go:build amd64 || arm64

package offload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	up = iota
	down
)

// Insert puts a flow into the kernel's table. It is not relayed before its first Renew. The error is one of Err…, and
// counted.
func (r *Relay) Insert(f Flow) (Handle, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, err := r.insertLocked(f)
	for i, refusal := range refusals {
		if errors.Is(err, refusal.err) && !f.Again {
			r.refused[i]++
		}
	}
	return h, err
}

func (r *Relay) insertLocked(f Flow) (Handle, error) {
	if r.closed {
		return 0, ErrClosed
	}
	for _, at := range []netip.AddrPort{f.Client, f.Server, f.Relayed, f.Peer} {
		ip := at.Addr()
		switch {
		case !ip.IsValid() || ip.Is4() != f.Client.Addr().Is4():
			return 0, ErrFamily
		case ip.Is4In6() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || at.Port() == 0:
			return 0, ErrScope
		}
	}
	e := &entry{flow: f, keys: [2]kernelKey{
		up:   keyOf(f.Client, f.Server, f.Channel),
		down: keyOf(f.Peer, f.Relayed, 0),
	}}
	if err := r.routeLocked(e); err != nil {
		return 0, err
	}
	h := r.next
	switch n := len(r.free); {
	case n > 0:
		h, r.free = r.free[n-1], r.free[:n-1]
	case h > MaxFlows:
		return 0, ErrFull
	default:
		r.next++
	}
	for dir := range 2 {
		r.leases[2*int(h)+dir] = kernelLease{}
	}
	if err := r.putLocked(h, e, ebpf.UpdateNoExist); err != nil {
		r.free = append(r.free, h)
		return 0, err
	}
	r.flows[h] = e
	return h, nil
}

// putLocked writes both directions of a flow, or none.
func (r *Relay) putLocked(h Handle, e *entry, flags ebpf.MapUpdateFlags) error {
	values := e.values(h)
	for dir := range 2 {
		err := r.objs.Flows.Update(&e.keys[dir], &values[dir], flags)
		if err == nil {
			continue
		}
		if dir == down {
			_ = r.objs.Flows.Delete(&e.keys[up])
		}
		if errors.Is(err, ebpf.ErrKeyExist) {
			return ErrClash
		}
		return fmt.Errorf("%w: %w", ErrKernel, err)
	}
	return nil
}

// values are a flow's two directions, as the program wants them.
func (e *entry) values(h Handle) [2]kernelFlow {
	f := e.flow
	toPeer := flowOf(f.Client, f.Server, f.Relayed, f.Peer, ^wire(f.Channel))
	toPeer.Ifindex, toPeer.Mtu, toPeer.Lease, toPeer.Bucket = e.out[up].ifindex, e.out[up].mtu, 2*uint32(h), uint32(f.Up)
	toClient := flowOf(f.Peer, f.Relayed, f.Server, f.Client, wire(f.Channel))
	toClient.Ifindex, toClient.Mtu, toClient.Lease, toClient.Bucket = e.out[down].ifindex, e.out[down].mtu, 2*uint32(h)+1, uint32(f.Down)
	toClient.Channel = wire(f.Channel)
	toClient.Counter = 2
	if f.Client.Addr().Is6() {
		toPeer.Counter++
		toClient.Counter++
	}
	toPeer.setHop(e.out[up].hop)
	toClient.setHop(e.out[down].hop)
	return [2]kernelFlow{toPeer, toClient}
}

// flowOf is what turns packets of one pair of addresses into those of another; more goes into the checksum besides.
func flowOf(from, to, newFrom, newTo netip.AddrPort, more uint16) kernelFlow {
	was := sum(from) + sum(to)
	is := sum(newFrom) + sum(newTo)
	protocol := uint32(wire(unix.IPPROTO_UDP))
	ports := uint32(wire(from.Port())) + uint32(wire(to.Port()))
	return kernelFlow{
		Src: words(newFrom.Addr()), Dst: words(newTo.Addr()), Sport: wire(newFrom.Port()), Dport: wire(newTo.Port()),
		Delta:  fold(uint32(fold(is)) + uint32(^fold(was)) + uint32(more)),
		Pseudo: fold(was - ports + protocol),
	}
}

// setHop says who takes the packets next.
func (k *kernelFlow) setHop(hop netip.Addr) {
	if hop.Is4() {
		k.Via, k.Hop[0] = unix.AF_INET, words(hop)[3]
		return
	}
	k.Via, k.Hop = unix.AF_INET6, words(hop)
}

func keyOf(from, to netip.AddrPort, channel uint16) kernelKey {
	return kernelKey{
		Src: words(from.Addr()), Dst: words(to.Addr()), Sport: wire(from.Port()), Dport: wire(to.Port()), Channel: wire(channel),
	}
}

// sum adds the 16-bit words of an address and its port, as on the wire.
func sum(a netip.AddrPort) uint32 {
	n := uint32(wire(a.Port()))
	b := a.Addr().AsSlice()
	for i := 0; i < len(b); i += 2 {
		n += uint32(binary.NativeEndian.Uint16(b[i:]))
	}
	return n
}

// fold makes 16 bits of a one's complement sum.
func fold(n uint32) uint16 {
	n = n&0xffff + n>>16
	return uint16(n&0xffff + n>>16)
}

// wire is a number as on the wire, seen as this machine's; both architectures are little-endian.
func wire(n uint16) uint16 { return bits.ReverseBytes16(n) }

// Renew lets the kernel relay a flow for so long from now, MaxLease at most; what was Stopped stays so. The caller has just
// looked whether it may.
func (r *Relay) Renew(h Handle, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.flows[h]
	if e == nil || e.over {
		return
	}
	now, epoch := monotonic(), atomic.LoadUint64(r.epoch)
	for dir := range 2 {
		l := &r.leases[2*int(h)+dir]
		atomic.StoreUint64(&l.Epoch, epoch)
		atomic.StoreUint64(&l.Until, now+uint64(max(0, min(d, MaxLease))))
	}
}

// monotonic is the program's clock.
func monotonic() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return uint64(ts.Nano())
}

// Stop ends a flow: what comes from now on goes up. Its counts stay until Release.
func (r *Relay) Stop(h Handle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.flows[h]
	if e == nil || e.over {
		return
	}
	e.over = true
	for dir := range 2 {
		atomic.StoreUint64(&r.leases[2*int(h)+dir].Until, 0)
	}
	r.parkLocked(e)
}

// parkLocked takes a flow out of the kernel's table.
func (r *Relay) parkLocked(e *entry) {
	if e.parked {
		return
	}
	e.parked = true
	for dir := range 2 {
		_ = r.objs.Flows.Delete(&e.keys[dir]) // it is there: nobody else has the table
	}
}

// Counts returns what was relayed of a flow.
func (r *Relay) Counts(h Handle) (both Both) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flows[h] == nil {
		return both
	}
	for dir, c := range []*Counts{&both.Up, &both.Down} {
		l := &r.leases[2*int(h)+dir]
		c.Packets, c.Bytes = atomic.LoadUint64(&l.Packets), atomic.LoadUint64(&l.Bytes)
	}
	return both
}

// Release forgets a flow, stopping it first where it was not. A packet that another processor has in hand when a flow is
// stopped is counted within microseconds; who wants to have counted it waits for its next round between Stop and Release.
func (r *Relay) Release(h Handle) {
	r.Stop(h)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flows[h] != nil {
		delete(r.flows, h)
		r.free = append(r.free, h)
	}
}

// Meter puts a flow's directions under quotas; 0 lifts them.
func (r *Relay) Meter(h Handle, toPeer, toClient Bucket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.flows[h]
	if e == nil || e.over || e.flow.Up == toPeer && e.flow.Down == toClient {
		return
	}
	e.flow.Up, e.flow.Down = toPeer, toClient
	if !e.parked {
		e.parked = r.putLocked(h, e, ebpf.UpdateAny) != nil
	}
}

// NewBucket makes a quota with nothing in it. It says false when there are MaxBuckets.
func (r *Relay) NewBucket() (Bucket, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, false
	}
	b := r.bucket + 1
	switch n := len(r.unused); {
	case n > 0:
		b, r.unused = r.unused[n-1], r.unused[:n-1]
	case b > MaxBuckets:
		return 0, false
	default:
		r.bucket = b
	}
	atomic.StoreInt64(&r.buckets[b].Tokens, 0)
	return b, true
}

// Grant adds bytes of payload to a bucket, or takes them, and returns what is in it then; below 0 is debt.
func (r *Relay) Grant(b Bucket, bytes int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || b == 0 || b > r.bucket {
		return 0
	}
	return atomic.AddInt64(&r.buckets[b].Tokens, bytes)
}

// FreeBucket gives a quota back, after the last flow with it has been released.
func (r *Relay) FreeBucket(b Bucket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b != 0 && b <= r.bucket && !r.closed {
		r.unused = append(r.unused, b)
	}
}
