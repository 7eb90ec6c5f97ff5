package turn

import "traverse.internal/core/offload"

// meter lends the kernel what a relayed address may spend, out of the accounts that it counts in. What is lent is what was
// moved within the last tick and a quarter more; what an idle one has left goes back. What exceeds it comes up, and is asked
// for here: so user, source and server never spend more than without the kernel.
type meter struct {
	flows   int
	buckets [2]offload.Bucket // 0: nothing is limited
	moved   [2]uint64         // bytes, by the last tick
}

// open puts a flow under its relayed address's meter.
func (k *kernel) open(f *offloaded, metered bool) {
	m := k.meters[f.relay]
	if m == nil {
		m = &meter{}
		for dir := range m.moved {
			m.moved[dir] = f.relay.moved[dir].bytes.Load()
		}
		k.meters[f.relay] = m
	}
	m.flows++
	k.limit(f, m, metered)
}

// limit sets the limits of a flow as they are to be. Without a bucket left a limited flow ends.
func (k *kernel) limit(f *offloaded, m *meter, metered bool) {
	for dir := range m.buckets {
		if !metered || m.buckets[dir] != 0 {
			continue
		}
		b, ok := k.off.NewBucket()
		if !ok {
			k.off.Stop(f.handle)
			f.over = true
			k.again(f)
			return
		}
		m.buckets[dir] = b
	}
	if metered {
		k.off.Meter(f.handle, m.buckets[up], m.buckets[down])
	} else {
		k.off.Meter(f.handle, 0, 0)
	}
}

// shut ends a meter with its last flow, and gives back what is left.
func (k *kernel) shut(r *relay) {
	m := k.meters[r]
	if m.flows--; m.flows > 0 {
		return
	}
	delete(k.meters, r)
	for dir, b := range m.buckets {
		if b != 0 {
			r.held.Moved(dir, -int(k.off.Grant(b, 0)))
			k.off.FreeBucket(b)
		}
	}
}

// meter balances every bucket.
func (k *kernel) meter(metered bool) {
	if metered != k.metered { // a reload
		k.metered = metered
		for f := range k.flows {
			if !f.over {
				k.limit(f, k.meters[f.relay], metered)
			}
		}
	}
	if !metered {
		return
	}
	for r, m := range k.meters {
		for dir, b := range m.buckets {
			moved := r.moved[dir].bytes.Load()
			want := int64(moved-m.moved[dir]) * 5 / 4
			m.moved[dir] = moved
			switch left := k.off.Grant(b, 0); {
			case left < want:
				more := r.held.Allowance(dir, int(want-left))
				r.held.Moved(dir, more)
				k.off.Grant(b, int64(more))
			case left > want:
				k.off.Grant(b, want-left)
				r.held.Moved(dir, int(want-left)) // back
			}
		}
	}
}
