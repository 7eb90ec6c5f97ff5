package mux_test

import (
	"errors"
	"io"
	"testing"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// raw is a peer that the test plays by hand: it writes and reads frames on its end of a link.
type raw struct {
	t    testing.TB
	link *side
}

// rawOfferer is a session that answers the test's hands.
func rawOfferer(t testing.TB, cfg mux.Config) (*raw, *mux.Session) {
	t.Helper()
	p := &raw{t: t}
	var other *side
	p.link, other = wire(1 << 20)
	cfg.Secret = secret
	p.control(&framing.Hello{
		Version: 1, SessionID: [16]byte{1}, MaxBody: framing.MaxBody,
		InitialWindow: framing.MinInitialWindow, SessionWindow: framing.MinSessionWindow, MaxChannels: 4096,
	})
	op, err := mux.Receive(other)
	if err != nil {
		t.Fatal(err)
	}
	s, err := mux.Answer(other, op, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, ok := p.next().(*framing.Hello); !ok {
		t.Fatal("first frame is not HELLO")
	}
	return p, s
}

// control writes control frames.
func (p *raw) control(ms ...framing.Message) {
	p.t.Helper()
	for _, m := range ms {
		p.write(framing.Native{}.AppendControl(nil, m))
	}
}

// data writes a frame of a data channel.
func (p *raw) data(id framing.ChannelID, body []byte) {
	p.t.Helper()
	p.write(append(framing.AppendHeader(nil, framing.Header{Length: uint16(len(body)), Channel: id}), body...))
}

func (p *raw) write(b []byte) {
	p.t.Helper()
	if _, err := p.link.Write(b); err != nil {
		p.t.Errorf("raw peer's write: %v", err)
	}
}

// request opens a channel to the session, which accepts.
func (p *raw) request(s *mux.Session, id framing.ChannelID) *mux.Channel {
	p.t.Helper()
	p.control(&framing.ChannelRequest{ID: id, Name: "raw"})
	ch := acceptOne(p.t, s)
	if q, ok := p.next().(*framing.ChannelRequest); !ok || !q.Accepted {
		p.t.Fatalf("answer %+v, want accepted", q)
	}
	p.t.Cleanup(func() { ch.Close() })
	return ch
}

// body is a data frame, as next returns it.
type body struct {
	framing.Message
	id   framing.ChannelID
	data []byte
}

// next reads the next frame: a control message, a *body, or nil when the link has ended.
func (p *raw) next() framing.Message {
	p.t.Helper()
	head := make([]byte, framing.HeaderLen)
	if _, err := io.ReadFull(p.link, head); err != nil {
		return nil
	}
	h, err := framing.ParseHeader(head)
	if err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, h.Length)
	if _, err := io.ReadFull(p.link, b); err != nil {
		p.t.Fatal(err)
	}
	switch h.Channel {
	case framing.Control:
		q, err := framing.ParseChannelRequest(b)
		if err != nil {
			p.t.Fatal(err)
		}
		return &q
	case framing.SessionChannel:
		m, err := framing.ParseMessage(b)
		if err != nil {
			p.t.Fatal(err)
		}
		return m
	}
	return &body{id: h.Channel, data: b}
}

// until reads up to the first message of a type.
func until[M framing.Message](p *raw) M {
	p.t.Helper()
	for {
		m := p.next()
		if m == nil {
			var none M
			p.t.Errorf("link ended before a %T", none)
			return none
		}
		if found, ok := m.(M); ok {
			return found
		}
	}
}

// over wants the session to have told code and ended.
func (p *raw) over(s *mux.Session, code framing.Code) {
	p.t.Helper()
	away := until[*framing.GoAway](p)
	if away == nil || away.Code != code {
		p.t.Errorf("GOAWAY %+v, want code %v", away, code)
	}
	p.link.Close()
	<-s.Done()
	var broken *mux.ProtocolError
	if !errors.As(s.Err(), &broken) || broken.Code != code {
		p.t.Errorf("session's error %v, want a *ProtocolError with code %v", s.Err(), code)
	}
}
