package dht

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"traverse.internal/signalling"
)

// callto is the route of first contact: boxes that anyone can find who knows the device's id. Anyone can fill them with
// junk too, so they are a last resort: used only for a device that has published nothing for us, looked into seldom,
// and switched off by leaving RouteCallto out.
type callto struct {
	courier *Courier
	sink    signalling.Sink
}

// Name returns "callto".
func (r *callto) Name() string { return "callto" }

// Attach sets the sink.
func (r *callto) Attach(sink signalling.Sink) { r.sink = sink }

// Send leaves a request in one of the recipient's boxes, unless it has published presence for us: then we are its
// contact and the slots are the way. Answers go by the pairwise slot, which the caller, whose id is now known, can read.
func (r *callto) Send(ctx context.Context, out signalling.Outgoing) error {
	c := r.courier
	if out.Kind == signalling.Answer {
		return c.putAnswer(ctx, out.To, out.Sealed)
	}
	c.lookup(ctx, out.To, func() bool { return true })
	if _, known := c.recall(out.To); known {
		return nil
	}
	sink := r.sink
	if c.cfg.Routes&RouteSlot != 0 {
		sink = nil // the slot route reads the answer
	}
	// Written once: again would push out what others leave.
	return c.sendAndListen(ctx, out.To, sink, signalling.MaxLife, func(ctx context.Context) error { return r.post(ctx, out) })
}

// box is one of a device's boxes and what is in it.
type box struct {
	slot slot
	seq  int64 // 0: empty
}

// post writes to the box that was written to longest ago: a fresh message of somebody else's is not pushed out, and a
// box that somebody blocks with high sequence numbers comes last.
func (r *callto) post(ctx context.Context, out signalling.Outgoing) error {
	boxes := r.look(ctx, out)
	err := ErrPinned
	for _, b := range boxes {
		if _, err = r.courier.node.Put(ctx, b.slot.key, sequenceNow(), out.Sealed); err == nil {
			r.courier.node.stats.calltoPuts.Add(1)
			return nil
		}
		if errors.Is(err, ErrPinned) {
			r.courier.node.stats.calltoPinned.Add(1)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// look reads the recipient's boxes and sorts them, the one to use first.
func (r *callto) look(ctx context.Context, out signalling.Outgoing) []box {
	hour := hourOf(time.Now())
	boxes := make([]box, calltoSlots)
	var wg sync.WaitGroup
	for i := range boxes {
		boxes[i].slot = calltoSlot(out.To, hour, i)
		wg.Go(func() {
			if item, err := r.courier.node.Get(ctx, boxes[i].slot.public, 0, nil); err == nil {
				boxes[i].seq = item.Seq
			}
		})
	}
	wg.Wait()
	rand.Shuffle(len(boxes), func(i, j int) { boxes[i], boxes[j] = boxes[j], boxes[i] })
	slices.SortStableFunc(boxes, func(a, b box) int { return cmp.Compare(a.seq, b.seq) })
	return boxes
}

// Serve looks into our own boxes until ctx ends.
func (r *callto) Serve(ctx context.Context) error {
	c := r.courier
	for {
		for _, hour := range hoursToRead(time.Now(), signalling.MaxLife) {
			var wg sync.WaitGroup
			for i := range calltoSlots {
				wg.Go(func() { c.readMailbox(ctx, calltoSlot(c.self, hour, i).public, hour, r.sink) })
			}
			wg.Wait()
		}
		if !wait(ctx, c.cfg.CalltoPoll) {
			return ctx.Err()
		}
	}
}
