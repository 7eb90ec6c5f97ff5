package turnclient

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/stun"
)

// announce makes the fake send n ConnectionAttempts, ids 1 to n, as soon as a permission is asked for.
func (f *fake) announce(n int) {
	f.on[stun.MethodCreatePermission] = func(r *request) {
		r.obey()
		for i := range n {
			r.attempt(uint32(i+1), peerOf(uint32(i+1)))
		}
	}
}

func peerOf(id uint32) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), uint16(1000+id))
}

// connectionID returns the id in a ConnectionBind.
func (r *request) connectionID() uint32 {
	id, err := r.m.Uint32(stun.AttrConnectionID)
	if err != nil {
		r.f.t.Error(err)
	}
	return id
}

func TestAccept(t *testing.T) {
	const n = 5
	f := newFake(t)
	f.announce(n)
	f.on[stun.MethodConnectionBind] = func(r *request) {
		// The peer spoke long ago, and what it said comes in one write with the response.
		b := stun.Respond(nil, r.m, stun.ClassSuccess)
		b.AddIntegrity(f.key())
		r.send(fmt.Appendf(b.Bytes(), "I am %d", r.connectionID()))
		_ = r.conn.(*net.TCPConn).CloseWrite()
	}
	a := f.allocate(IPv4)
	if err := a.Permit(t.Context(), peerOf(1).Addr()); err != nil {
		t.Fatal(err)
	}
	seen := map[netip.AddrPort]bool{}
	for range n {
		conn, peer, err := a.Accept(short(t))
		if err != nil {
			t.Fatal(err)
		}
		wantReadAll(t, conn, fmt.Sprintf("I am %d", peer.Port()-1000))
		seen[peer] = true
		_ = conn.Close()
	}
	if len(seen) != n {
		t.Errorf("peers %v, want %d", seen, n)
	}
	if s := a.Stats(); s.Attempts != n || s.Bound != n || s.BindsFailed != 0 || s.AttemptsDropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

// The bind response is read to its end and not a byte further, however it is cut.
func TestBindReadsExactly(t *testing.T) {
	f := newFake(t)
	f.announce(1)
	f.on[stun.MethodConnectionBind] = func(r *request) {
		b := stun.Respond(nil, r.m, stun.ClassSuccess)
		b.AddText(stun.AttrSoftware, "talkative")
		b.AddIntegrity(f.key())
		b.AddFingerprint()
		for _, c := range append(b.Bytes(), "the peer"...) {
			r.send([]byte{c})
		}
		_ = r.conn.(*net.TCPConn).CloseWrite()
	}
	a := f.allocate(IPv4)
	if err := a.Permit(t.Context(), peerOf(1).Addr()); err != nil {
		t.Fatal(err)
	}
	conn, _, err := a.Accept(short(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wantReadAll(t, conn, "the peer")
}

// A data connection that cannot be bound is counted, and the next one is served.
func TestBindFailures(t *testing.T) {
	tests := []struct {
		name string
		bind func(*request)
		want error
		code stun.ErrorCode
	}{
		{"400", func(r *request) { r.refuse(stun.CodeBadRequest) }, nil, stun.CodeBadRequest},
		{"closed", func(r *request) { _ = r.conn.Close() }, io.ErrUnexpectedEOF, 0},
		{"not STUN", func(r *request) { r.send([]byte("HTTP/1.1 400 Bad Request")) }, ErrGarbage, 0},
		{"another transaction", func(r *request) {
			b := stun.New(nil, stun.MethodConnectionBind.Success(), stun.TransactionID{})
			b.AddIntegrity(r.f.key())
			r.send(b.Bytes())
		}, ErrGarbage, 0},
		{"another method", func(r *request) {
			b := stun.New(nil, stun.MethodConnect.Success(), r.m.TransactionID())
			b.AddIntegrity(r.f.key())
			r.send(b.Bytes())
		}, ErrGarbage, 0},
		{"forged", func(r *request) {
			b := stun.Respond(nil, r.m, stun.ClassSuccess)
			r.send(b.Bytes())
		}, ErrForged, 0},
		{"silence", func(*request) {}, os.ErrDeadlineExceeded, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.announce(2)
			f.on[stun.MethodConnectionBind] = func(r *request) {
				if r.connectionID() == 1 {
					tt.bind(r)
					return
				}
				r.obey()
			}
			a, err := f.dial(300*time.Millisecond).Allocate(t.Context(), IPv4)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Permit(t.Context(), peerOf(1).Addr()); err != nil {
				t.Fatal(err)
			}
			conn, peer, err := a.Accept(short(t))
			if err != nil || peer != peerOf(2) {
				t.Fatalf("got %v, %v, want %v", peer, err, peerOf(2))
			}
			_ = conn.Close()

			_, err = a.c.bind(t.Context(), 1)
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if tt.code != 0 {
				if e := as[*Error](t, err); e.Code != tt.code {
					t.Errorf("got %v, want %v", e, tt.code)
				}
			}
			if s := a.Stats(); s.BindsFailed == 0 || s.LastBindError == nil || s.Bound != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// A nonce that is not valid on the data connection is replaced there, and only there.
func TestBindWithAnotherNonce(t *testing.T) {
	for _, code := range []stun.ErrorCode{stun.CodeStaleNonce, stun.CodeUnauthenticated} {
		t.Run(code.String(), func(t *testing.T) {
			f := newFake(t)
			f.announce(1)
			f.before = func(r *request) bool {
				if r.m.Type().Method != stun.MethodConnectionBind {
					return false
				}
				if nonce, _ := r.m.Text(stun.AttrNonce); string(nonce) != "only here" {
					r.challenge(code, "only here")
				} else if r.m.CheckIntegrity(f.key()) == nil {
					r.obey()
				}
				return true
			}
			a := f.allocate(IPv4)
			if err := a.Permit(t.Context(), peerOf(1).Addr()); err != nil {
				t.Fatal(err)
			}
			conn, _, err := a.Accept(short(t))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if got := a.c.credentials().nonce; got != "nonce1" {
				t.Errorf("nonce of the control connection is %q", got)
			}
		})
	}
}

// Eight binds go on at once, so that seven that hang do not stop the eighth.
func TestBindsAreConcurrent(t *testing.T) {
	f := newFake(t)
	f.announce(maxBinds)
	f.on[stun.MethodConnectionBind] = func(r *request) {
		if r.connectionID() == maxBinds {
			r.obey()
		}
	}
	a := f.allocate(IPv4)
	if err := a.Permit(t.Context(), peerOf(1).Addr()); err != nil {
		t.Fatal(err)
	}
	conn, peer, err := a.Accept(short(t))
	if err != nil || peer != peerOf(maxBinds) {
		t.Fatalf("got %v, %v, want %v", peer, err, peerOf(maxBinds))
	}
	_ = conn.Close()
	if err := a.Close(); err != nil { // and it does not wait for those that hang
		t.Error(err)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, end := f.pipe()
		defer end()
		// There is no allocation, so nothing takes attempts off the queue.
		r := &request{f: f, conn: discard{}}
		for i := range maxAttempts + 10 {
			b := stun.New(nil, stun.MethodConnectionAttempt.Indication(), stun.NewTransactionID())
			b.AddUint32(stun.AttrConnectionID, uint32(i))
			b.AddXORAddr(stun.AttrXORPeerAddress, peerOf(1))
			if r.m, _ = stun.Parse(b.Bytes()); r.m.Raw == nil {
				t.Fatal("not a message")
			}
			c.deliver(r.m)
		}
		if s := c.Stats(); s.Attempts != maxAttempts+10 || s.AttemptsDropped != 10 || len(c.attempts) != maxAttempts {
			t.Errorf("stats %+v, %d queued", s, len(c.attempts))
		}
		// The relay has closed them by now.
		time.Sleep(attemptLife)
		if _, err := c.Allocate(t.Context(), IPv4); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := c.Stats(); s.AttemptsDropped != maxAttempts+10 || s.BindsFailed != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

type discard struct{ net.Conn }

// Indications that mean nothing are counted and do nothing.
func TestUselessIndications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, end := f.pipe()
		defer end()
		for name, add := range map[string]func(*stun.Builder){
			"no id":   func(b *stun.Builder) { b.AddXORAddr(stun.AttrXORPeerAddress, peerOf(1)) },
			"no peer": func(b *stun.Builder) { b.AddUint32(stun.AttrConnectionID, 1) },
			"unknown required attribute": func(b *stun.Builder) {
				b.AddXORAddr(stun.AttrXORPeerAddress, peerOf(1))
				b.AddUint32(stun.AttrConnectionID, 1)
				b.AddUint32(0x7fff, 1)
			},
		} {
			b := stun.New(nil, stun.MethodConnectionAttempt.Indication(), stun.NewTransactionID())
			add(&b)
			m, err := stun.Parse(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			before := c.Stats().Stray
			c.deliver(m)
			if s := c.Stats(); s.Stray != before+1 || s.Attempts != 0 {
				t.Errorf("%s: stats %+v", name, s)
			}
		}
		for _, typ := range []stun.Type{
			stun.MethodData.Indication(), stun.MethodAllocate.Request(), stun.MethodAllocate.Success(),
		} {
			b := stun.New(nil, typ, stun.NewTransactionID())
			m, err := stun.Parse(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			before := c.Stats().Stray
			if c.deliver(m); c.Stats().Stray != before+1 {
				t.Errorf("%v was of use", typ)
			}
		}
	})
}
