package connmgr

import (
	"context"

	"traverse.internal/core/mux"
)

// Incoming is a channel request from another device, waiting for a decision.
type Incoming struct {
	Info
	Name string

	s   *session
	req *mux.Request
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

// Accept opens the channel.
func (in *Incoming) Accept() (*mux.Channel, error) {
	ch, err := in.req.Accept()
	if err == nil {
		in.s.unique.note(in.Name, ch)
	}
	return ch, err
}

// Decline refuses it; the reason reaches the other side's *mux.DeclinedError.
func (in *Incoming) Decline(why string) error { return in.req.Decline(why) }

// acceptLoop takes the session's channel requests and queues them for Accept; past MaxIncoming they are declined.
func (s *session) acceptLoop() {
	for {
		req, err := s.mux.Accept(s.m.ctx)
		if err != nil {
			return
		}
		if s.unique.claim(s, req) {
			continue
		}
		select {
		case s.m.incoming <- &Incoming{Info: s.info(), Name: req.Name(), s: s, req: req}:
		default:
			s.m.stats.declinedBusy.Add(1)
			_ = req.Decline("busy")
		}
	}
}

// drainIncoming answers the requests that nobody took before the end.
func (m *Manager) drainIncoming() {
	for {
		select {
		case in := <-m.incoming:
			_ = in.req.Decline("shutting down")
		default:
			return
		}
	}
}
