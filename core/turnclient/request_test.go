package turnclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/core/stun"
)

func TestRefusals(t *testing.T) {
	tests := []struct {
		code   stun.ErrorCode
		reason reason.Code
		family bool
	}{
		{stun.CodeTryAlternate, reason.RelayQuota, false},
		{stun.CodeBadRequest, "", false},
		{stun.CodeForbidden, reason.RelayAuth, false},
		{stun.CodeAllocationMismatch, "", false},
		{stun.CodeFamilyNotSupported, "", true},
		{stun.CodeWrongCredentials, reason.RelayAuth, false},
		{stun.CodeUnsupportedTransport, "", false},
		{stun.CodeAllocationQuotaReached, reason.RelayQuota, false},
		{stun.CodeServerError, "", false},
		{stun.CodeInsufficientCapacity, reason.RelayQuota, false},
	}
	for _, tt := range tests {
		t.Run(tt.code.String(), func(t *testing.T) {
			f := newFake(t)
			var obey atomic.Bool
			f.on[stun.MethodAllocate] = func(r *request) {
				if obey.Load() {
					r.obey()
					return
				}
				r.refuse(tt.code)
			}
			c := f.dial(5 * time.Second)
			_, err := c.Allocate(t.Context(), IPv4)
			if e := as[*Error](t, err); e.Code != tt.code || e.Method != stun.MethodAllocate {
				t.Errorf("got %v, want %v", e, tt.code)
			}
			if got := reason.Of(err); got != tt.reason {
				t.Errorf("reason %q, want %q", got, tt.reason)
			}
			if got := errors.Is(err, ErrFamily); got != tt.family {
				t.Errorf("is ErrFamily: %v, want %v", got, tt.family)
			}
			if got, want := err.Error(), "turnclient: Allocate refused: "+tt.code.String(); got != want {
				t.Errorf("text %q, want %q", got, want)
			}
			obey.Store(true)
			if _, err := c.Allocate(t.Context(), IPv4); err != nil {
				t.Errorf("trying again: %v", err)
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	f := newFake(t)
	f.password = "another"
	_, err := f.dial(5*time.Second).Allocate(t.Context(), IPv4)
	if e := as[*Error](t, err); e.Code != stun.CodeUnauthenticated || reason.Of(err) != reason.RelayAuth {
		t.Errorf("got %v, reason %q", e, reason.Of(err))
	}
	if all, _ := f.requests(stun.MethodAllocate); len(all) != 2 {
		t.Errorf("%d requests, want 2", len(all))
	}
}

func TestStaleNonce(t *testing.T) {
	f := newFake(t)
	a := f.allocate(IPv4)
	f.renewNonce("nonce2")
	if err := a.Permit(t.Context(), addrs("192.0.2.1")...); err != nil {
		t.Fatal(err)
	}
	if err := a.Permit(t.Context(), addrs("192.0.2.2")...); err != nil {
		t.Fatal(err)
	}
	// One refused, and its repetition; the next one has the new nonce from the start.
	if all, _ := f.requests(stun.MethodCreatePermission); len(all) != 3 {
		t.Errorf("%d requests, want 3", len(all))
	}
	if s := a.Stats(); s.Challenges != 2 || s.Forged != 0 || s.Requests != 5 {
		t.Errorf("stats %+v", s)
	}
}

func TestNonceIsNeverRight(t *testing.T) {
	f := newFake(t)
	var n atomic.Int32
	f.before = func(r *request) bool {
		if r.m.Type().Method != stun.MethodCreatePermission {
			return false
		}
		r.challenge(stun.CodeStaleNonce, fmt.Sprint("fresh", n.Add(1)))
		return true
	}
	a := f.allocate(IPv4)
	if e := as[*Error](t, a.Permit(t.Context(), addrs("192.0.2.1")...)); e.Code != stun.CodeStaleNonce {
		t.Errorf("got %v", e)
	}
	if n.Load() != maxTries {
		t.Errorf("%d requests, want %d", n.Load(), maxTries)
	}
}

// A challenge that lacks what it takes to meet it is a refusal.
func TestIncompleteChallenge(t *testing.T) {
	for _, missing := range []stun.AttrType{stun.AttrRealm, stun.AttrNonce} {
		f := newFake(t)
		f.before = func(r *request) bool {
			b := stun.Respond(nil, r.m, stun.ClassError)
			b.AddErrorCode(stun.CodeUnauthenticated)
			for _, a := range []stun.AttrType{stun.AttrRealm, stun.AttrNonce} {
				if a != missing {
					b.AddText(a, "x")
				}
			}
			r.send(b.Bytes())
			return true
		}
		_, err := f.dial(5*time.Second).Allocate(t.Context(), IPv4)
		if e := as[*Error](t, err); e.Code != stun.CodeUnauthenticated {
			t.Errorf("without %v: %v", missing, e)
		}
	}
}

// Which responses to a signed request are believed; the others are as if they had not come.
func TestResponseIntegrity(t *testing.T) {
	tests := []struct {
		name     string
		class    stun.Class
		code     stun.ErrorCode
		key      []byte // of its integrity, nil: none
		believed bool
	}{
		{"signed success", stun.ClassSuccess, 0, stun.LongTermKey(fakeUser, fakeRealm, fakePassword), true},
		{"success without integrity", stun.ClassSuccess, 0, nil, false},
		{"success with a wrong one", stun.ClassSuccess, 0, []byte("wrong"), false},
		{"403 without", stun.ClassError, stun.CodeForbidden, nil, false},
		{"437 without", stun.ClassError, stun.CodeAllocationMismatch, nil, false},
		{"437 with a wrong one", stun.ClassError, stun.CodeAllocationMismatch, []byte("wrong"), false},
		{"400 without", stun.ClassError, stun.CodeBadRequest, nil, true},
		{"401 without", stun.ClassError, stun.CodeUnauthenticated, nil, true},
		{"420 without", stun.ClassError, stun.CodeUnknownAttribute, nil, true},
		{"438 without", stun.ClassError, stun.CodeStaleNonce, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.on[stun.MethodCreatePermission] = func(r *request) {
					b := stun.Respond(nil, r.m, tt.class)
					if tt.code != 0 {
						b.AddErrorCode(tt.code)
					}
					if tt.key != nil {
						b.AddIntegrity(tt.key)
					}
					r.send(b.Bytes())
				}
				c, end := f.pipe()
				defer end()
				a, err := c.Allocate(t.Context(), IPv4)
				if err != nil {
					t.Fatal(err)
				}
				err = a.Permit(t.Context(), addrs("192.0.2.1")...)
				if got := !errors.Is(err, ErrForged); got != tt.believed {
					t.Errorf("believed: %v (%v), want %v", got, err, tt.believed)
				}
				if got := c.Stats().Forged; (got == 0) != tt.believed {
					t.Errorf("%d forged", got)
				}
			})
		})
	}
}

// A forged response does not hide the genuine one that comes behind it.
func TestForgedThenGenuine(t *testing.T) {
	f := newFake(t)
	f.on[stun.MethodCreatePermission] = func(r *request) {
		b := stun.Respond(nil, r.m, stun.ClassError)
		b.AddErrorCode(stun.CodeForbidden)
		r.send(b.Bytes())
		r.obey()
		r.obey() // and a repeated one does no harm
	}
	a := f.allocate(IPv4)
	for _, p := range addrs("192.0.2.1", "192.0.2.2", "192.0.2.3") {
		if err := a.Permit(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	if s := a.Stats(); s.Forged != 3 {
		t.Errorf("stats %+v, want 3 forged", s)
	}
}

// Requests share the connection: their responses may come in any order.
func TestResponsesInAnyOrder(t *testing.T) {
	const n = 16
	f := newFake(t)
	var held []*request
	f.on[stun.MethodConnect] = func(r *request) {
		held = append(held, r)
		if len(held) < n {
			return
		}
		for i := range held {
			held[n-1-i].refuse(stun.ErrorCode(400 + n - 1 - i + 50)) // 450 and up
		}
	}
	a := f.allocate(IPv4)
	var wg sync.WaitGroup
	codes := make([]stun.ErrorCode, n)
	for i := range n {
		wg.Go(func() {
			_, err := a.Connect(t.Context(), netip.AddrPortFrom(relayed4.Addr(), uint16(i+1)))
			var e *Error
			if errors.As(err, &e) {
				codes[i] = e.Code
			}
		})
	}
	wg.Wait()
	seen := map[stun.ErrorCode]bool{}
	for _, code := range codes {
		seen[code] = true
	}
	if len(seen) != n || seen[0] {
		t.Errorf("codes %v", codes)
	}
}

func TestResponseWithUnknownRequiredAttribute(t *testing.T) {
	f := newFake(t)
	f.on[stun.MethodCreatePermission] = func(r *request) {
		r.success(func(b *stun.Builder) { b.AddUint32(0x7fff, 1) })
	}
	a := f.allocate(IPv4)
	err := a.Permit(t.Context(), addrs("192.0.2.1")...)
	if !errors.Is(err, ErrGarbage) || len(a.Permitted()) != 0 {
		t.Errorf("got %v, permitted %v", err, a.Permitted())
	}
}

func TestErrorResponseWithoutCode(t *testing.T) {
	f := newFake(t)
	f.on[stun.MethodCreatePermission] = func(r *request) {
		b := stun.Respond(nil, r.m, stun.ClassError)
		b.AddIntegrity(f.key())
		r.send(b.Bytes())
	}
	a := f.allocate(IPv4)
	if err := a.Permit(t.Context(), addrs("192.0.2.1")...); !errors.Is(err, ErrGarbage) {
		t.Errorf("got %v, want %v", err, ErrGarbage)
	}
}

// TURN.md 120: a server cannot send us round in circles. Where it points is told to the caller, and nobody goes there by
// itself: one request is all that a 300 costs.
func TestRedirectionIsToldNotFollowed(t *testing.T) {
	f := newFake(t)
	here := f.listen() // where it would answer again, and again
	f.on[stun.MethodAllocate] = func(r *request) {
		b := stun.Respond(nil, r.m, stun.ClassError)
		b.AddErrorCode(stun.CodeTryAlternate)
		b.AddAddr(stun.AttrAlternateServer, here)
		b.AddIntegrity(f.key())
		r.send(b.Bytes())
	}
	_, err := f.dial(5*time.Second).Allocate(t.Context(), IPv4)
	if e := as[*Error](t, err); e.Alternate != here || f.count(stun.MethodAllocate) != 1 {
		t.Errorf("alternate %v, asked %d times; want %v, once", e.Alternate, f.count(stun.MethodAllocate), here)
	}
}

func TestAlternateAndPhrase(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.99:3478")
	f := newFake(t)
	f.on[stun.MethodAllocate] = func(r *request) {
		b := stun.Respond(nil, r.m, stun.ClassError)
		b.AddError(stun.CodeTryAlternate, "go \x1b[31maway\n"+strings.Repeat("x", 500))
		b.AddAddr(stun.AttrAlternateServer, to)
		b.AddIntegrity(f.key())
		r.send(b.Bytes())
	}
	_, err := f.dial(5*time.Second).Allocate(t.Context(), IPv4)
	e := as[*Error](t, err)
	if e.Alternate != to {
		t.Errorf("alternate %v, want %v", e.Alternate, to)
	}
	if len(e.Phrase) > maxPhrase || !strings.HasPrefix(e.Phrase, "go [31maway") || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("phrase %q", e.Phrase)
	}
}

// A caller who gives up learns that, and harms nobody else.
func TestCallerGivesUp(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.on[stun.MethodConnect] = func(*request) { cancel() }
	a := f.allocate(IPv4)
	_, err := a.Connect(ctx, relayed4)
	if !errors.Is(err, context.Canceled) || reason.Of(err) != "" {
		t.Errorf("got %v, reason %q, want %v", err, reason.Of(err), context.Canceled)
	}
	ended, stop := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer stop()
	if err := a.Permit(ended, addrs("192.0.2.1")...); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
	if err := a.Permit(t.Context(), addrs("192.0.2.1")...); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := len(a.c.calls); n != 0 {
		t.Errorf("%d calls are left in the table", n)
	}
}

// The in-flight table is bounded; who finds no place waits.
func TestRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.on[stun.MethodConnect] = func(*request) {}
		c, end := f.pipe()
		defer end()
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range maxRequests + 5 {
			wg.Go(func() { _, _ = a.Connect(t.Context(), relayed4) })
		}
		synctest.Wait()
		if got := f.count(stun.MethodConnect); got != maxRequests {
			t.Errorf("%d requests, want %d", got, maxRequests)
		}
		wg.Wait()
	})
}
