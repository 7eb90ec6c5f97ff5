package mux_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestPeerBreaksTheProtocol: docs/protocol/mux.md 9, row by row.
func TestPeerBreaksTheProtocol(t *testing.T) {
	const id = framing.FirstOfferer
	for _, c := range []struct {
		name string
		code framing.Code
		do   func(p *raw, s *mux.Session)
	}{
		{"more than a channel's window", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.request(s, id)
			for range 4 {
				p.data(id, make([]byte, framing.BulkBody))
			}
			p.data(id, make([]byte, 16)) // to the last byte: allowed
			p.data(id, make([]byte, 1))
		}},
		{"more than the session's window", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			for i := range framing.ChannelID(5) {
				p.request(s, id+i)
			}
			for i := range framing.ChannelID(5) {
				for range 4 {
					p.data(id+i, make([]byte, 1<<15+1<<14))
				}
			}
			p.data(id, make([]byte, 1<<15+1<<14+1<<13))
			p.data(id, make([]byte, 1<<15))
		}},
		{"a body on a number that was never a channel", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.data(id, []byte("x")) }},
		{"an end of a number that was never a channel", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.data(5, nil) }},
		{"a body before the answer", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.control(&framing.ChannelRequest{ID: id, Name: "x"})
			p.data(id, []byte("x"))
		}},
		{"a body behind the end", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.request(s, id)
			p.data(id, nil)
			p.data(id, []byte("x"))
		}},
		{"a second end", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.request(s, id)
			p.data(id, nil)
			p.data(id, nil)
		}},
		{"a request for our number", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.control(&framing.ChannelRequest{ID: 1, Name: "x"})
		}},
		{"a request for a number in use", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.request(s, id)
			p.control(&framing.ChannelRequest{ID: id, Name: "x"})
		}},
		{"an ACK beyond what was sent", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.control(&framing.Ack{Count: 1}) }},
		{"a second HELLO", framing.CodeProtocol, func(p *raw, s *mux.Session) {
			p.control(&framing.Hello{
				Version: 1, MaxBody: framing.MaxBody, InitialWindow: framing.MinInitialWindow,
				SessionWindow: framing.MinSessionWindow, MaxChannels: 16,
			})
		}},
		{"RESUME in the middle", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.control(&framing.Resume{}) }},
		{"a control frame that is empty", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.write([]byte{0, 0, 0, 0}) }},
		{"one that is too long", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.write([]byte{0x10, 1, 0xff, 0xff}) }},
		{"garbage on channel 0", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.write([]byte("\x00\x03\x00\x00abc")) }},
		{"garbage on channel 0xffff", framing.CodeProtocol, func(p *raw, s *mux.Session) { p.write([]byte("\x00\x03\xff\xffabc")) }},
		{"a critical field of a later version", framing.CodeUnsupported, func(p *raw, s *mux.Session) {
			p.write([]byte{0, 7, 0xff, 0xff, 0x82, 0, 99, 1, 0x92, 0, 7})
		}},
		{"requests whose answers it does not read", framing.CodeLimit, func(p *raw, s *mux.Session) {
			p.link.in.hold(true)
			defer p.link.in.hold(false)
			for i := range framing.ChannelID(20_000) {
				if s.Err() != nil {
					return
				}
				p.control(&framing.ChannelRequest{ID: id + i, Name: strings.Repeat("x", framing.MaxName)})
			}
		}},
		{"RESETs whose answers it does not read", framing.CodeLimit, func(p *raw, s *mux.Session) {
			p.link.in.hold(true)
			defer p.link.in.hold(false)
			for range 200_000 {
				if s.Err() != nil {
					return
				}
				p.control(&framing.Reset{Channel: 7, Code: framing.CodeCancelled})
			}
		}},
		{"frames that it never acknowledges", framing.CodeLimit, func(p *raw, s *mux.Session) {
			go func() {
				for i := range framing.ChannelID(30_000) {
					q := &framing.ChannelRequest{ID: id + i, Name: strings.Repeat("x", framing.MaxName)}
					if _, err := p.link.Write(framing.Native{}.AppendControl(nil, q)); err != nil {
						return // it has had enough
					}
				}
			}()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := rawOfferer(t, mux.Config{SessionWindow: framing.MinSessionWindow, MaxPending: 1})
				c.do(p, s)
				p.over(s, c.code)
				if st := s.Stats(); st.Violations != 1 {
					t.Errorf("%d violations counted, want 1", st.Violations)
				}
			})
		})
	}
}

// TestPeerIsOdd: what a peer may do, however strange.
func TestPeerIsOdd(t *testing.T) {
	const id = framing.FirstOfferer
	for _, c := range []struct {
		name string
		do   func(t *testing.T, p *raw, s *mux.Session)
	}{
		{"an answer to nothing", func(t *testing.T, p *raw, s *mux.Session) {
			p.control(&framing.ChannelRequest{ID: 7, Name: "x", IsAnswer: true, Accepted: true})
			synctest.Wait()
			if n := s.Stats().StrayAnswers; n != 1 {
				t.Errorf("%d stray answers counted, want 1", n)
			}
		}},
		{"MAX for no channel, lower MAXes, old ACKs, answers to no beacon, messages of a later version", func(t *testing.T, p *raw, s *mux.Session) {
			p.control(&framing.Max{Channel: 77, Offset: 5}, &framing.MaxSession{Offset: 5}, &framing.Ack{}, &framing.Beacon{Nonce: 3, Answer: true})
			p.write([]byte{0, 3, 0xff, 0xff, 0x81, 0, 99})
		}},
		{"RESET for no channel is answered, its answer is not", func(t *testing.T, p *raw, s *mux.Session) {
			p.control(&framing.Reset{Channel: id, Code: framing.CodeCancelled})
			if m := until[*framing.Reset](p); m.Channel != id || m.Code != framing.CodeNone {
				t.Errorf("answer %+v, want code none", m)
			}
			p.control(&framing.Reset{Channel: id})
			synctest.Wait()
			if n := s.Stats().ResetsOut; n != 1 {
				t.Errorf("%d RESETs sent, want 1", n)
			}
		}},
		{"a name that cannot be one", func(t *testing.T, p *raw, s *mux.Session) {
			p.write(append([]byte{0, 27 - 4, 0, 0}, "\x83\xa2id\xcd\x80\x00\xa4name\xa0\xa8isAnswer\xc2"...))
			if m := until[*framing.Reset](p); m.Channel != id || m.Code != framing.CodeName {
				t.Errorf("got %+v, want RESET with code %v", m, framing.CodeName)
			}
			p.control(&framing.Reset{Channel: id})
		}},
		{"a request, a RESET for it, and the number again", func(t *testing.T, p *raw, s *mux.Session) {
			p.control(&framing.ChannelRequest{ID: id, Name: "first"})
			synctest.Wait()
			r, err := s.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p.control(&framing.Reset{Channel: id, Code: framing.CodeTimeout})
			until[*framing.Reset](p)
			if _, err := r.Accept(); !errors.Is(err, mux.ErrWithdrawn) {
				t.Errorf("accept: %v, want ErrWithdrawn", err)
			}
			p.request(s, id)
		}},
		{"data, end and MAX for a channel that has ended", func(t *testing.T, p *raw, s *mux.Session) {
			ch := p.request(s, id)
			p.data(id, nil)
			ch.Close()
			synctest.Wait()
			p.data(id, make([]byte, 100))
			p.data(id, nil)
			p.control(&framing.Max{Channel: id, Offset: 1 << 40})
			synctest.Wait()
			if st := s.Stats(); st.Dropped != 2 || st.Unread != 0 {
				t.Errorf("%d frames dropped, %d bytes unread; want 2 and 0", st.Dropped, st.Unread)
			}
		}},
		{"requests beyond MaxPending are declined as busy", func(t *testing.T, p *raw, s *mux.Session) {
			p.control(&framing.ChannelRequest{ID: id, Name: "a"}, &framing.ChannelRequest{ID: id + 1, Name: "b"}, &framing.ChannelRequest{ID: id + 2, Name: "c"})
			if m := until[*framing.ChannelRequest](p); m.ID != id+2 || m.Accepted || m.Reason != mux.ReasonBusy {
				t.Errorf("answer %+v, want %d declined as %q", m, id+2, mux.ReasonBusy)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := rawOfferer(t, mux.Config{MaxPending: 2})
				c.do(t, p, s)
				// The session is as it was.
				synctest.Wait()
				p.control(&framing.Beacon{Nonce: 42})
				if m := until[*framing.Beacon](p); m == nil || m.Nonce != 42 || !m.Answer {
					t.Errorf("beacon's answer %+v", m)
				}
				p.control(&framing.GoAway{Code: framing.CodeShuttingDown})
				<-s.Done()
			})
		})
	}
}

// TestFirstFrame: what Receive and Start make of a link's first frame.
func TestFirstFrame(t *testing.T) {
	hello := framing.Native{}.AppendControl(nil, &framing.Hello{
		Version: 1, SessionID: [16]byte{1}, MaxBody: framing.MaxBody, InitialWindow: framing.MinInitialWindow,
		SessionWindow: framing.MinSessionWindow, MaxChannels: 16,
	})
	away := framing.Native{}.AppendControl(nil, &framing.GoAway{Code: framing.CodeRevoked})
	for _, c := range []struct {
		name  string
		bytes []byte
		want  string // of Receive's error; empty: none
	}{
		{"HELLO", hello, ""},
		{"HELLO and more, of which nothing is read", append(bytes.Clone(hello), "more"...), ""},
		{"nothing", nil, "unexpected EOF"},
		{"half a header", hello[:2], "unexpected EOF"},
		{"half of it", hello[:20], "unexpected EOF"},
		{"data", []byte{0, 1, 0x80, 0, 'x'}, "first frame is on channel 32768"},
		{"a request", framing.Native{}.AppendControl(nil, &framing.ChannelRequest{ID: 5, Name: "x"}), "first frame is on channel 0"},
		{"a beacon", framing.Native{}.AppendControl(nil, &framing.Beacon{}), "first frame is BEACON"},
		{"GOAWAY", away, "the peer goes away: revoked"},
		{"HTTP", []byte("GET / HTTP/1.0\r\n\r\n"), "first frame is on channel 21536"},
		{"too long", []byte{0xff, 0xff, 0xff, 0xff}, "control body longer than 4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := bytes.NewReader(c.bytes)
			op, err := mux.Receive(in)
			if c.want == "" {
				if err != nil || op.Hello == nil {
					t.Fatalf("%+v, %v; want HELLO", op, err)
				}
				if read := len(c.bytes) - in.Len(); read != len(hello) {
					t.Errorf("read %d bytes, want %d", read, len(hello))
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, io.EOF) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestAnswererIsSilent: the called side has 10 s for its HELLO.
func TestAnswererIsSilent(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer framing.Message
		want   string
		after  time.Duration
	}{
		{"for ever", nil, "no HELLO within 10s", 10 * time.Second},
		{"refuses", &framing.GoAway{Code: framing.CodeRevoked, Reason: "no"}, "the peer goes away: revoked: no", 0},
		{"answers another session", &framing.Hello{
			Version: 1, MaxBody: framing.MaxBody, InitialWindow: framing.MinInitialWindow,
			SessionWindow: framing.MinSessionWindow, MaxChannels: 16,
		}, "HELLO of another session", time.Second},
		{"sends something else first", &framing.Ack{}, "ACK before HELLO", time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				la, lb := wire(wireSize)
				began := time.Now()
				s, err := mux.Start(la, mux.Config{})
				if err != nil {
					t.Fatal(err)
				}
				if c.answer != nil {
					fmt.Fprintf(lb, "%s", framing.Native{}.AppendControl(nil, c.answer))
				}
				_, err = s.Open(t.Context(), "x")
				<-s.Done()
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(s.Err().Error(), c.want) {
					t.Errorf("open: %v, session: %v; want %q", err, s.Err(), c.want)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
			})
		})
	}
}
