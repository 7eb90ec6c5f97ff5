package ice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/core/stun"
)

// TestNoCheckAfterHandOver: with an agent that wants to send keepalives every 5 ms, nothing but what is written comes out
// of the path for 20 times that.
func TestNoCheckAfterHandOver(t *testing.T) {
	cfg := Config{keepalive: 5 * time.Millisecond}
	b := mustConnect(t, listenTest(t, cfg), listenTest(t, cfg))
	talk(t, b, 1<<20)
	for _, p := range []*Path{b.offerer, b.answerer} {
		silent(t, p)
	}
	if got := len(b.offerer.Head); got < 1 || got > 2 || len(b.answerer.Head) != 0 {
		t.Errorf("heads of %d and %d bytes, want 1 or 2 and 0", got, len(b.answerer.Head))
	}
}

// silent checks that nothing comes for 100 ms.
func silent(t *testing.T, p *Path) {
	t.Helper()
	p.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := p.Conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v read %d bytes (%v) while nobody writes", p.Role, n, err)
	}
}

// TestHandOverIsExact looks at what the offerer writes: checks, one nomination as the last request, and then what the owner
// of the path writes, to the byte. That is why the answerer can take a bare connection without reading ahead.
func TestHandOverIsExact(t *testing.T) {
	const data = 1000
	for range 20 {
		caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
		tap := newTap(t, callee)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		b := connectVia(ctx, caller, callee, tap.between(t, caller))
		cancel()
		if err := errors.Join(b.offererErr, b.answererErr); err != nil {
			t.Fatal(err)
		}
		talk(t, b, data)
		b.close()
		nominated := 0
		for _, raw := range tap.recorded() {
			before := nominated
			for len(raw) > 0 {
				frame, tls, err := readFrame(bytes.NewReader(raw))
				if tls {
					break
				}
				m, bad := stun.Parse(frame)
				if err != nil || bad != nil {
					t.Fatalf("recorded %x: %v, %v", raw, err, bad)
				}
				if request := m.Type().Class == stun.ClassRequest; request && nominated > before {
					t.Errorf("a request follows the nomination on its connection")
				}
				if m.Has(stun.AttrUseCandidate) {
					nominated++
				}
				raw = raw[frameHeader+len(frame):]
			}
			if want := data * (nominated - before); len(raw) != want {
				t.Errorf("%d bytes follow the checks, want the %d of the path's owner", len(raw), want)
			}
		}
		if nominated != 1 {
			t.Errorf("%d nominations, want 1", nominated)
		}
	}
}

// tap is a TCP proxy in front of an endpoint that records what comes in.
type tap struct {
	ln    *net.TCPListener
	to    string
	conns chan chan []byte
}

func newTap(t *testing.T, to *Endpoint) *tap {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{ln: ln.(*net.TCPListener), to: netip.AddrPortFrom(lo4, to.Port()).String(), conns: make(chan chan []byte, 64)}
	t.Cleanup(func() { ln.Close() })
	go p.serve()
	return p
}

func (p *tap) serve() {
	for {
		in, err := p.ln.AcceptTCP()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp4", p.to)
		if err != nil {
			in.Close()
			continue
		}
		record := make(chan []byte, 1)
		p.conns <- record
		go func() {
			defer out.Close()
			var seen bytes.Buffer
			_, _ = io.Copy(out, io.TeeReader(in, &seen))
			record <- seen.Bytes()
		}()
		go func() {
			defer in.Close()
			_, _ = io.Copy(in, out)
		}()
	}
}

// between makes the caller dial the tap, and the callee dial nothing.
func (p *tap) between(t *testing.T, caller *Endpoint) func(Offer) Offer {
	t.Helper()
	away := filtered(t)
	return func(o Offer) Offer {
		if o.Candidates[0].Addr.Port() == caller.Port() {
			return away(o)
		}
		o.Candidates = slices.Clone(o.Candidates)
		o.Candidates[0].Addr = unmapped(p.ln.Addr())
		return o
	}
}

// recorded returns what the caller wrote on each of its connections.
func (p *tap) recorded() (all [][]byte) {
	for len(p.conns) > 0 {
		all = append(all, <-<-p.conns)
	}
	return all
}

// TestAnswererNeverSpeaks: the offerer does not wait for ever for the first TLS byte, and sends nothing meanwhile.
func TestAnswererNeverSpeaks(t *testing.T) {
	noGoroutines(t)
	caller, callee := listenTest(t, Config{keepalive: 5 * time.Millisecond}), listenTest(t, Config{})
	at, called := gatherTest(t, caller), gatherTest(t, callee)
	answered := make(chan *Path, 1)
	go func() {
		p, err := called.Negotiate(t.Context(), Answerer, at.Offer())
		if err != nil {
			t.Errorf("answerer: %v", err)
		} else {
			silent(t, p)
		}
		answered <- p
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := at.Negotiate(ctx, Offerer, called.Offer())
	if none := (*NoPathError)(nil); !errors.As(err, &none) || none.Code != reason.NoPath || !strings.Contains(err.Error(), "chosen, silent") {
		t.Errorf("got %v, want a NoPathError that says that the chosen connection is silent", err)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline's error", err)
	}
	if p := <-answered; p != nil {
		p.Close()
	}
}

// TestAnswererDiesAfterChoice: the offerer knows at once when the connection that it nominated breaks.
func TestAnswererDiesAfterChoice(t *testing.T) {
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
	at, called := gatherTest(t, caller), gatherTest(t, callee)
	go func() {
		if p, err := called.Negotiate(t.Context(), Answerer, at.Offer()); err == nil {
			p.Close()
		}
	}()
	_, err := at.Negotiate(t.Context(), Offerer, called.Offer())
	if reason.Of(err) != reason.NoPath || !errors.Is(err, errBroke) {
		t.Errorf("got %v, want %v", err, errBroke)
	}
}

// TestWrongPassword: a peer that does not know the password is never chosen, and its connections are closed as garbage.
func TestWrongPassword(t *testing.T) {
	for _, who := range []Role{Offerer, Answerer} {
		t.Run(who.String(), func(t *testing.T) {
			caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
			victim := caller
			if who == Answerer {
				victim = callee
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			b := connectVia(ctx, caller, callee, func(o Offer) Offer {
				if o.Candidates[0].Addr.Port() == victim.Port() {
					o.Password = strings.Repeat("x", minPassword)
				}
				return o
			})
			defer b.close()
			if reason.Of(b.offererErr) != reason.NoPath || reason.Of(b.answererErr) != reason.NoPath {
				t.Errorf("got %v and %v, want no path", b.offererErr, b.answererErr)
			}
			if s := victim.Stats(); s.Garbage == 0 || s.Routed != 0 {
				t.Errorf("stats %+v, want garbage and nothing routed", s)
			}
		})
	}
}

// TestAttemptIsUsedOnce has the ends of an attempt.
func TestAttemptIsUsedOnce(t *testing.T) {
	noGoroutines(t)
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
	at, called := gatherTest(t, caller), gatherTest(t, callee)
	offer := called.Offer()
	ended := make(chan error, 1)
	go func() {
		_, err := at.Negotiate(t.Context(), Offerer, offer)
		ended <- err
	}()
	eventually(t, "the negotiation to begin", func() bool { return caller.Stats().Dials > 0 }, func() string { return "" })
	if _, err := at.Negotiate(t.Context(), Offerer, offer); !errors.Is(err, ErrNegotiated) {
		t.Errorf("second Negotiate: got %v, want ErrNegotiated", err)
	}
	at.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
	if _, err := at.Negotiate(t.Context(), Offerer, offer); !errors.Is(err, ErrClosed) {
		t.Errorf("Negotiate after Close: got %v, want ErrClosed", err)
	}
	if err := at.Permit(t.Context(), offer); !errors.Is(err, ErrClosed) {
		t.Errorf("Permit after Close: got %v, want ErrClosed", err)
	}
	at.Close()
	if live := caller.Stats().Live; live != 0 {
		t.Errorf("%d attempts are live, want 0", live)
	}
}

func gatherTest(t *testing.T, e *Endpoint) *Attempt {
	t.Helper()
	at, err := e.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { at.Close() })
	return at
}
