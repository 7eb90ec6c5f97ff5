package connmgr

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"traverse.internal/core/mux"
	"traverse.internal/identity"
)

// gatherFunc begins an attempt; callFunc exchanges offers with a device, as Signaler.Call does, and says
// by which route.
type (
	gatherFunc = func(context.Context) (PathAttempt, error)
	callFunc   = func(ctx context.Context, peer identity.DeviceID, offer []byte) (answer []byte, by string, err error)
)

// offerChannel is the name of the channels by which a session carries the offers of its own next path (docs/protocol/request.md): no DHT is asked, nothing
// is stored anywhere, and both ends know how long a message takes. The session has authenticated both devices.
const offerChannel = "path/offer"

// maxOffer bounds an offer on such a channel, in bytes. It is what a sealed message carries at most (signalling.MaxBody, 787), and some.
const maxOffer = 1024

// offerTime bounds the exchange: the other side gathers for two seconds, and permits for two.
const offerTime = 10 * time.Second

var errNoOffer = errors.New("connmgr: the device does not want another path now")

// bySession is the route of offers that a session carries.
const bySession = "session"

// ask exchanges offers by the signaler.
func (m *Manager) ask(ctx context.Context, peer identity.DeviceID, offer []byte) (answer []byte, by string, err error) {
	t, ok := m.cfg.Signaler.(tracer)
	if ok {
		ctx = t.Traced(ctx)
	}
	answer, err = m.cfg.Signaler.Call(ctx, peer, offer)
	if ok {
		by = t.Route(ctx)
	}
	return answer, by, err
}

// cameBy is the route by which the request of a handler came.
func (m *Manager) cameBy(ctx context.Context) string {
	if t, ok := m.cfg.Signaler.(tracer); ok {
		return t.Route(ctx)
	}
	return ""
}

// carry exchanges offers over the session. A device that knows no such channel declines it; the call goes the usual way then.
func (s *session) carry(ctx context.Context, peer identity.DeviceID, offer []byte) (answer []byte, by string, err error) {
	opening, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	ch, err := s.mux.Open(opening, offerChannel)
	var declined *mux.DeclinedError
	if errors.As(err, &declined) {
		return s.m.ask(ctx, peer, offer)
	}
	if err != nil {
		return nil, "", err
	}
	defer ch.Close()
	defer context.AfterFunc(opening, func() { _ = ch.SetDeadline(time.Unix(1, 0)) })()
	ch.SetPriority(mux.Interactive)
	if err := writeOffer(ch, offer); err != nil {
		return nil, "", err
	}
	answer, err = readOffer(ch)
	if err == nil && len(answer) == 0 {
		err = errNoOffer
	}
	if err != nil {
		return nil, "", err
	}
	return answer, bySession, nil
}

// offered takes a channel request that is for an offer; false: it is for something else. One at a time is answered for a session.
func (s *session) offered(req *mux.Request) bool {
	if req.Name() != offerChannel {
		return false
	}
	if s.m.upgrader == nil {
		_ = req.Decline("no such service")
		return true
	}
	if s.offering.Swap(true) || !s.m.spawn(func() { s.answerOffer(req) }) {
		_ = req.Decline(mux.ReasonBusy)
	}
	return true
}

// answerOffer answers what comes by a channel as if it had come by the signaler.
func (s *session) answerOffer(req *mux.Request) {
	defer s.offering.Store(false)
	ch, err := req.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	ctx, cancel := context.WithTimeout(s.m.ctx, offerTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = ch.SetDeadline(time.Unix(1, 0)) })()
	ch.SetPriority(mux.Interactive)
	offer, err := readOffer(ch)
	if err != nil {
		return
	}
	s.measure(ctx)
	answer, err := s.m.answerBy(ctx, bySession, s.peer, offer)
	if err != nil || len(answer) > maxOffer {
		answer = nil
	}
	_ = writeOffer(ch, answer)
}

// measure finds out how long a message and its answer take, where that is not known yet.
func (s *session) measure(ctx context.Context) {
	s.mu.Lock()
	known := s.trip > 0
	s.mu.Unlock()
	if known {
		return
	}
	began := time.Now()
	if s.mux.Beacon(ctx) == nil {
		s.mu.Lock()
		s.trip = max(time.Since(began), 1)
		s.mu.Unlock()
	}
}

// roundTrip is the shorter one of what the mux has seen on the present link and what was measured; 0: unknown.
func (s *session) roundTrip() time.Duration {
	seen := s.mux.Stats().RoundTrip
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trip == 0 || seen > 0 && seen < s.trip {
		return seen
	}
	return s.trip
}

// writeOffer writes 2 bytes of length and so many bytes; none is "no".
func writeOffer(w io.Writer, offer []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(offer))), offer...))
	return err
}

func readOffer(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n > maxOffer {
		return nil, errors.New("connmgr: an offer that is too long")
	}
	offer := make([]byte, n)
	_, err := io.ReadFull(r, offer)
	return offer, err
}
