package push

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/pushwire"
)

// trusting takes everybody as the user that they say.
func trusting() Peer {
	return Peer{
		Source: netip.MustParseAddr("198.51.100.1"), Realm: "home", Known: func() {},
		Authenticate: func(f pushwire.Frame) (string, pushwire.Instance, pushwire.Proof, bool) {
			return f.User, f.Instance, pushwire.Proof{9}, f.User != "nobody"
		},
	}
}

// party is one end of a connection that a Hub serves.
type party struct {
	net.Conn
	in    *pushwire.Reader
	ended chan error
}

func (h *Hub) connect(t *testing.T) *party {
	t.Helper()
	here, there := net.Pipe()
	p := &party{here, pushwire.NewReader(here), make(chan error, 1)}
	go func() { p.ended <- h.Serve(there, trusting()) }()
	if f := p.next(t); f.Kind != pushwire.Hello || f.Realm != "home" {
		t.Fatalf("greeted with %+v", f)
	}
	return p
}

func (p *party) next(t *testing.T) pushwire.Frame {
	t.Helper()
	f, err := p.in.Next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (p *party) write(t *testing.T, f pushwire.Frame) {
	t.Helper()
	if _, err := p.Write(pushwire.Append(nil, f)); err != nil {
		t.Fatal(err)
	}
}

// register registers, with a mailbox.
func (p *party) register(t *testing.T, user string, boxes ...int) {
	t.Helper()
	p.write(t, pushwire.Frame{Kind: pushwire.Register, User: user})
	if f := p.next(t); f.Kind != pushwire.Registered || f.Verdict != pushwire.Accepted || f.Proof != (pushwire.Proof{9}) {
		t.Fatalf("registered: %+v", f)
	}
	p.write(t, pushwire.Frame{Kind: pushwire.Mailboxes, Tokens: tokens(boxes...)})
}

func (p *party) ping(t *testing.T) {
	t.Helper()
	p.write(t, pushwire.Frame{Kind: pushwire.Ping})
	if f := p.next(t); f.Kind != pushwire.Pong {
		t.Fatalf("a ping got %+v", f)
	}
}

// TestConversation: one round trip from the caller to the device and back.
func TestConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Limits{})
		device, caller := h.connect(t), h.connect(t)
		device.register(t, "anna", 1)
		device.ping(t) // so the mailboxes are known
		caller.write(t, handIn(1, 5))
		asked := device.next(t)
		if asked.Kind != pushwire.Push || string(asked.Sealed) != "sealed" {
			t.Fatalf("pushed: %+v", asked)
		}
		if f := caller.next(t); f.Kind != pushwire.Outcome || f.Result != pushwire.Pushed || f.Tag != (pushwire.Tag{5}) {
			t.Fatalf("the caller was told %+v", f)
		}
		device.write(t, pushwire.Frame{Kind: pushwire.Answer, Tag: asked.Tag, Sealed: []byte("answer")})
		if f := caller.next(t); f.Kind != pushwire.Answer || f.Tag != (pushwire.Tag{5}) || string(f.Sealed) != "answer" {
			t.Fatalf("the caller has %+v", f)
		}
		for _, p := range []*party{device, caller} {
			p.Close()
			if err := <-p.ended; err != nil {
				t.Error(err)
			}
		}
		if st := h.Stats(); st.Registrations != 0 || st.Mailboxes != 0 || st.Bad != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// TestSilenceEnds: a connection that says nothing has 35 s, one that registered 75 s and pings for ever, and a caller two minutes whatever
// it says.
func TestSilenceEnds(t *testing.T) {
	lasts := func(t *testing.T, work func(p *party)) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			h := New(Limits{})
			p := h.connect(t)
			began := time.Now()
			work(p)
			_, err := p.in.Next()
			if !errors.Is(err, io.EOF) {
				t.Errorf("ended with %v", err)
			}
			d = time.Since(began)
			<-p.ended
			p.Close()
		})
		return d
	}
	if d := lasts(t, func(*party) {}); d != CallerIdle {
		t.Errorf("a silent stranger had %v", d)
	}
	if d := lasts(t, func(p *party) { p.register(t, "anna") }); d != DeviceIdle {
		t.Errorf("a silent device had %v", d)
	}
	if d := lasts(t, func(p *party) {
		p.register(t, "anna")
		for range 1000 {
			time.Sleep(25 * time.Second) // the bubble's clock
			p.ping(t)
		}
	}); d != 1000*25*time.Second+DeviceIdle {
		t.Errorf("a device that pings had %v", d)
	}
	if d := lasts(t, func(p *party) {
		for range 6 {
			time.Sleep(19 * time.Second)
			p.ping(t)
		}
	}); d != callerLife {
		t.Errorf("a stranger that pings had %v", d)
	}
}

// TestSlowLoris: a frame that comes byte by byte has no longer than a silent one.
func TestSlowLoris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Limits{})
		p := h.connect(t)
		began := time.Now()
		for _, b := range pushwire.Append(nil, handIn(1, 1)) {
			if _, err := p.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(5 * time.Second) // the bubble's clock
		}
		if err := <-p.ended; err == nil || time.Since(began) > CallerIdle+5*time.Second {
			t.Errorf("ended after %v with %v", time.Since(began), err)
		}
		p.Close()
	})
}

// TestSlowReader: a device that does not read costs nobody else anything, loses its connection after ten seconds, and a bounded queue before.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Limits{})
		device, caller := h.connect(t), h.connect(t)
		device.register(t, "anna", 1)
		device.ping(t)
		began := time.Now()
		for i := range 60 {
			caller.write(t, handIn(1, byte(i)))
			if f := caller.next(t); f.Kind != pushwire.Outcome {
				t.Fatalf("the caller was told %+v", f)
			}
			time.Sleep(500 * time.Millisecond) // the bubble's clock
		}
		if err := <-device.ended; err == nil || h.Stats().Registrations != 0 {
			t.Errorf("the device's connection ended with %v", err)
		}
		st := h.Stats()
		if st.Pushed > maxQueue+1 || st.NotHere == 0 || time.Since(began) > time.Minute {
			t.Errorf("%+v", st)
		}
		caller.Close()
		device.Close()
		<-caller.ended
	})
}

// TestHostile: what is no part of the conversation ends it.
func TestHostile(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"too long":                 {byte(pushwire.HandIn), 0xff, 0xff},
		"a hand-in without a seal": {byte(pushwire.HandIn), 0, 24, 23: 0, 26: 0},
		"the relay's words":        pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Hello}),
		"mailboxes of nobody":      pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Mailboxes, Tokens: tokens(1)}),
		"a refused user":           pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Register, User: "nobody"}),
		"two registrations":        append(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Register, User: "a"}), pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Register, User: "b"})...),
		"many frames":              many(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Answer, Sealed: []byte("x")}), 1000),
		"many unknown ones":        many([]byte{200, 0, 0}, 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(Limits{})
				p := h.connect(t)
				go func() {
					_, _ = p.Write(bytes)
					for { // whatever the relay says
						if _, err := p.in.Next(); err != nil {
							return
						}
					}
				}()
				began := time.Now()
				<-p.ended
				if time.Since(began) > time.Second {
					t.Errorf("ended after %v only", time.Since(began))
				}
				p.Close()
			})
		})
	}
}

func many(b []byte, n int) []byte { return bytes.Repeat(b, n) }

// FuzzServe: whatever comes, the connection ends and leaves nothing.
func FuzzServe(f *testing.F) {
	var all []byte
	for _, fr := range []pushwire.Frame{
		{Kind: pushwire.Register, User: "anna"},
		{Kind: pushwire.Mailboxes, Tokens: tokens(1, 2)},
		handIn(1, 1),
		{Kind: pushwire.Answer, Sealed: []byte("x")},
		{Kind: pushwire.Ping},
	} {
		all = pushwire.Append(all, fr)
		f.Add(pushwire.Append(nil, fr))
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := New(Limits{})
		here, there := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- h.Serve(there, trusting()) }()
		go func() { _, _ = io.Copy(io.Discard, here) }()
		_, _ = here.Write(b)
		here.Close()
		<-ended
		if st := h.Stats(); st.Registrations != 0 || st.Mailboxes != 0 || len(h.users) != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}
