package dht

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// question is one request being asked directly.
type question struct {
	direct *direct
	bytes  []byte // the datagram
	back   chan incoming
	addrs  chan []netip.AddrPort // from the search for presence; holds the newest

	receipt func() // called for a receipt; nil: it is the answer that is waited for
}

// run asks until ctx ends. Where the peer is comes from its presence, which is watched all the time: a peer that moved
// is asked at its new address as soon as its record says so.
func (q *question) run(ctx context.Context, peer identity.DeviceID) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { q.watch(ctx, peer) })

	var asked []netip.AddrPort
	err := errNoAddress
	pause, sent := resendFirst, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	timer.Stop() // nothing to send again yet
	for {
		select {
		case <-ctx.Done():
			return err
		case addrs := <-q.addrs:
			if slices.Equal(addrs, asked) {
				continue
			}
			asked, pause, sent = addrs, resendFirst, 0
			err = q.send(asked)
			q.direct.courier.node.stats.directSent.Add(1)
			timer.Reset(pause)
		case <-timer.C:
			if sent++; sent > maxResends {
				continue
			}
			err = q.send(asked)
			q.direct.courier.node.stats.directResent.Add(1)
			pause = min(2*pause, resendMost)
			timer.Reset(pause)
		case in := <-q.back:
			if in.kind == directReceipt {
				q.direct.courier.node.stats.directAcks.Add(1)
				if q.receipt != nil {
					q.receipt()
				}
				pause = max(pause, resendReceived)
				timer.Reset(pause)
				continue
			}
			q.direct.sink(signalling.Arrival{Sealed: in.sealed})
		}
	}
}

// watch passes on the addresses that are found, the newest only.
func (q *question) watch(ctx context.Context, peer identity.DeviceID) {
	q.direct.courier.watch(ctx, peer, func(r record) bool {
		if len(r.addrs) == 0 {
			return true
		}
		select {
		case <-q.addrs: // an older one that was not read
		default:
		}
		q.addrs <- r.addrs // the only sender: there is room
		return true
	})
}

// send sends the datagram to every address. It reports an error only when no address could be sent to.
func (q *question) send(addrs []netip.AddrPort) error {
	var last error
	sent := false
	for _, a := range addrs {
		if err := q.direct.courier.node.conn.writeDirect(q.bytes, a); err != nil {
			last = err
			continue
		}
		sent = true
	}
	if sent {
		return nil
	}
	return last
}
