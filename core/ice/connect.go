package ice

import (
	"context"
	"time"
)

// viaTries is how often our relay is asked to connect to the peer's.
const viaTries = 3

// connectLoop has one of our own relays dial a relay of the peer's, for a network that lets out nothing but what goes to
// our relay: at once where that is known, else when our own dial has had a second.
func (a *Attempt) connectLoop(l *leg) {
	defer a.loopEnded()
	select {
	case <-a.gate:
	case <-a.ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.ep.cfg.window)
	defer cancel()
	if !a.ep.network().Filtered && !sleep(ctx, a.ep.cfg.RelayHold) {
		return
	}
	pause := retryFirst
	for range viaTries {
		for _, own := range a.allocations() {
			if own.Relayed().Addr().Is4() != l.addr.Addr().Is4() {
				continue
			}
			if s := a.streamOf(l); s != nil {
				return
			}
			if a.connect(ctx, own, l) == nil {
				return
			}
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, retryMost)
	}
}

// connect makes one such connection and takes it into the attempt.
func (a *Attempt) connect(ctx context.Context, own *lent, l *leg) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := own.Connect(ctx, l.addr)
	a.mu.Lock()
	if l.tries++; err != nil {
		l.err, l.changed = err, time.Now()
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	if err := a.attach(&stream{conn: conn, peer: l.addr, dialled: true, relay: l.addr, lent: own}, nil); err != nil {
		conn.Close()
		return err
	}
	return nil
}

func (a *Attempt) allocations() []*lent {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lent
}
