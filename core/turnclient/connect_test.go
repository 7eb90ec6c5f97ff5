package turnclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/core/stun"
)

func TestConnect(t *testing.T) {
	f := newFake(t)
	f.on[stun.MethodConnect] = func(r *request) {
		peer, err := r.m.XORAddr(stun.AttrXORPeerAddress)
		switch {
		case err != nil:
			r.refuse(stun.CodeBadRequest)
		case peer == peerOf(1):
			r.success(func(b *stun.Builder) { b.AddUint32(stun.AttrConnectionID, 4711) })
		case peer == peerOf(2):
			r.success(func(*stun.Builder) {})
		default:
			r.refuse(stun.CodeConnectionFailed)
		}
	}
	f.on[stun.MethodConnectionBind] = func(r *request) {
		if id := r.connectionID(); id != 4711 {
			t.Errorf("id %d, want 4711", id)
		}
		r.obey()
		r.send([]byte("hello"))
		_ = r.conn.(*net.TCPConn).CloseWrite()
	}
	a := f.allocate(IPv4)
	conn, err := a.Connect(t.Context(), peerOf(1))
	if err != nil {
		t.Fatal(err)
	}
	wantReadAll(t, conn, "hello")
	_ = conn.Close()
	if _, err = a.Connect(t.Context(), peerOf(2)); !errors.Is(err, ErrGarbage) || reason.Of(err) != reason.RelayUnreachable {
		t.Errorf("no id: %v", err)
	}
	_, err = a.Connect(t.Context(), peerOf(3))
	if e := as[*Error](t, err); e.Code != stun.CodeConnectionFailed || e.Method != stun.MethodConnect {
		t.Errorf("got %v, want %v", e, stun.CodeConnectionFailed)
	}
}

// A slow Connect keeps nobody waiting, and is given more time than other requests.
func TestSlowConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.on[stun.MethodConnect] = func(*request) {}
		c, end := f.pipe()
		defer end()
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := a.Connect(t.Context(), peerOf(1))
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != connectTimeout {
				t.Errorf("got %v after %v, want a timeout after %v", err, time.Since(start), connectTimeout)
			}
		})
		synctest.Wait()
		if err := a.Permit(t.Context(), peerOf(1).Addr()); err != nil || time.Since(start) != 0 {
			t.Errorf("Permit meanwhile: %v after %v", err, time.Since(start))
		}
		wg.Wait()
	})
}

// Close ends every call that is under way.
func TestCloseEndsCalls(t *testing.T) {
	f := newFake(t)
	var arrived sync.WaitGroup
	arrived.Add(3) // Connect, CreatePermission, ConnectionBind
	f.on[stun.MethodConnect] = func(r *request) {
		arrived.Done()
		r.attempt(1, peerOf(1))
	}
	f.on[stun.MethodCreatePermission] = func(*request) { arrived.Done() }
	f.on[stun.MethodConnectionBind] = func(*request) { arrived.Done() }
	a := f.allocate(IPv4)
	var calls sync.WaitGroup
	for name, call := range map[string]func() error{
		"Accept":  func() error { _, _, err := a.Accept(t.Context()); return err },
		"Connect": func() error { _, err := a.Connect(t.Context(), peerOf(1)); return err },
		"Permit":  func() error { return a.Permit(t.Context(), peerOf(1).Addr()) },
	} {
		calls.Go(func() {
			if err := call(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v, want %v", name, err, ErrClosed)
			}
		})
	}
	arrived.Wait()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	calls.Wait()
	if _, _, err := a.Accept(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Accept afterwards: %v", err)
	}
	if _, err := a.Connect(t.Context(), peerOf(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Connect afterwards: %v", err)
	}
}

// The relay's end is the allocation's end.
func TestControlConnectionDies(t *testing.T) {
	f := newFake(t)
	f.on[stun.MethodCreatePermission] = func(r *request) { _ = r.conn.Close() }
	a := f.allocate(IPv4)
	err := a.Permit(t.Context(), peerOf(1).Addr())
	if !errors.Is(err, io.ErrUnexpectedEOF) || reason.Of(err) != reason.RelayUnreachable {
		t.Errorf("Permit: %v, reason %q", err, reason.Of(err))
	}
	<-a.Done()
	if _, _, err := a.Accept(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Accept: %v", err)
	}
	if err := a.Close(); err != nil || errors.Is(a.Err(), ErrClosed) {
		t.Errorf("Close: %v; the first cause became %v", err, a.Err())
	}
}

func TestAcceptObeysContext(t *testing.T) {
	a := newFake(t).allocate(IPv4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := a.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
