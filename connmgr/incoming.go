package connmgr

import (
	"context"
	"sync"

	"traverse.internal/core/mux"
)

// Incoming is a channel request from another device, waiting for a decision.
type Incoming struct {
	Info
	Name string

	s    *session
	req  *mux.Request
	once sync.Once
}

// Accept returns the next channel request of any device.
func (m *Manager) Accept(ctx context.Context) (*Incoming, error) {
	select {
	case in := <-m.incoming:
		return in, nil
	case <-m.ctx.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept opens the channel. One of Accept and Decline has an effect, the first that is called.
func (in *Incoming) Accept() (ch *mux.Channel, err error) {
	err = mux.ErrWithdrawn
	in.once.Do(func() {
		ch, err = in.req.Accept()
		in.s.unique.decided(in.Name, ch)
	})
	return ch, err
}

// Decline refuses it; the reason reaches the other side's *mux.DeclinedError.
func (in *Incoming) Decline(why string) (err error) {
	err = mux.ErrWithdrawn
	in.once.Do(func() {
		err = in.req.Decline(why)
		in.s.unique.decided(in.Name, nil)
	})
	return err
}

// acceptLoop takes the session's channel requests and queues them for Accept; past MaxIncoming they are declined.
func (s *session) acceptLoop() {
	for {
		req, err := s.mux.Accept(s.m.ctx)
		if err != nil {
			return
		}
		if s.offered(req) || s.unique.claim(s, req) {
			continue
		}
		in := &Incoming{Info: s.info(), Name: req.Name(), s: s, req: req}
		select {
		case s.m.incoming <- in:
		default:
			s.m.stats.declinedBusy.Add(1)
			_ = in.Decline(mux.ReasonBusy)
		}
	}
}

// drainIncoming answers the requests that nobody took before the end.
func (m *Manager) drainIncoming() {
	for {
		select {
		case in := <-m.incoming:
			_ = in.Decline("shutting down")
		default:
			return
		}
	}
}
