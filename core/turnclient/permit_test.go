package turnclient

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/stun"
)

// deny refuses CreatePermission requests that name one of the addresses.
func (f *fake) deny(code stun.ErrorCode, list ...netip.Addr) {
	f.on[stun.MethodCreatePermission] = func(r *request) {
		for _, p := range peersOf(f.t, r.m) {
			if slices.Contains(list, p) {
				r.refuse(code)
				return
			}
		}
		r.obey()
	}
}

func TestPermit(t *testing.T) {
	public, private := addrs("192.0.2.1", "192.0.2.2"), addrs("10.0.0.1", "192.168.1.1")
	tests := []struct {
		name     string
		family   Family
		ask      []netip.Addr
		deny     []netip.Addr
		granted  []netip.Addr
		requests int
		code     stun.ErrorCode // of the error, 0: none
	}{
		{"many in one request", IPv4, public, nil, public, 1, 0},
		{"each once", IPv4, addrs("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"), nil, public[:1], 1, 0},
		{"only IPv4", IPv4, addrs("192.0.2.1", "2001:db8::1"), nil, public[:1], 1, 0},
		{"only IPv6", IPv6, addrs("192.0.2.1", "2001:db8::1", "fe80::1%eth0"), nil, addrs("2001:db8::1", "fe80::1"), 1, 0},
		{"nothing of the family", IPv4, addrs("2001:db8::1"), nil, nil, 0, 0},
		{"addresses of nobody", IPv4, append(addrs("0.0.0.0", "224.0.0.1"), netip.Addr{}), nil, nil, 0, 0},
		{"none at all", IPv4, nil, nil, nil, 0, 0},
		{"some are forbidden", IPv4, slices.Concat(private, public), private, public, 5, 0},
		{"all are forbidden", IPv4, private, private, nil, 3, stun.CodeForbidden},
		{"the only one is forbidden", IPv4, private[:1], private, nil, 1, stun.CodeForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.deny(stun.CodeForbidden, tt.deny...)
			a := f.allocate(tt.family)
			err := a.Permit(t.Context(), tt.ask...)
			if tt.code == 0 && err != nil {
				t.Fatal(err)
			}
			if tt.code != 0 {
				if e := as[*Error](t, err); e.Code != tt.code || e.Method != stun.MethodCreatePermission || e.Reason() != "" {
					t.Errorf("got %v, want %v", e, tt.code)
				}
			}
			if got := a.Permitted(); !slices.Equal(got, tt.granted) {
				t.Errorf("permitted %v, want %v", got, tt.granted)
			}
			if got := f.count(stun.MethodCreatePermission); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
			if err := a.Permit(t.Context(), tt.granted...); err != nil || f.count(stun.MethodCreatePermission) != tt.requests {
				t.Errorf("asked again for what there is: %v, %d requests", err, f.count(stun.MethodCreatePermission))
			}
		})
	}
}

// Only a verdict on the peer makes it worth asking again.
func TestPermitOtherRefusals(t *testing.T) {
	for _, code := range []stun.ErrorCode{stun.CodeBadRequest, stun.CodeAllocationMismatch, stun.CodeInsufficientCapacity} {
		f := newFake(t)
		f.deny(code, addrs("192.0.2.1")...)
		a := f.allocate(IPv4)
		if e := as[*Error](t, a.Permit(t.Context(), addrs("192.0.2.1", "192.0.2.2")...)); e.Code != code {
			t.Errorf("got %v, want %v", e, code)
		}
		if got := f.count(stun.MethodCreatePermission); got != 1 {
			t.Errorf("%v: %d requests, want 1", code, got)
		}
	}
}

func TestPermitLimit(t *testing.T) {
	f := newFake(t)
	a := f.allocate(IPv4)
	var many []netip.Addr
	for i := range MaxPermissions + 1 {
		many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
	}
	if err := a.Permit(t.Context(), many...); !errors.Is(err, ErrLimit) || len(a.Permitted()) != 0 {
		t.Errorf("%d at once: %v, %d permitted", len(many), err, len(a.Permitted()))
	}
	if err := a.Permit(t.Context(), many[:MaxPermissions]...); err != nil || len(a.Permitted()) != MaxPermissions {
		t.Errorf("%d at once: %v, %d permitted", MaxPermissions, err, len(a.Permitted()))
	}
	if err := a.Permit(t.Context(), many...); !errors.Is(err, ErrLimit) {
		t.Errorf("one more: %v, want %v", err, ErrLimit)
	}
	if all, _ := f.requests(stun.MethodCreatePermission); len(all) != 1 || len(all[0].Raw) > maxFrame {
		t.Errorf("%d requests", len(all))
	}
}

func TestPermissionsAreKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, end := f.pipe()
		defer end()
		start := time.Now()
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Permit(t.Context(), addrs("192.0.2.1", "192.0.2.2")...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second)
		if err := a.Permit(t.Context(), addrs("192.0.2.3", "192.0.2.1")...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Second)
		synctest.Wait()
		want := []struct {
			after time.Duration
			peers []netip.Addr
		}{
			{0, addrs("192.0.2.1", "192.0.2.2")},
			{100 * time.Second, addrs("192.0.2.3")},
			{240 * time.Second, addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")},
			{480 * time.Second, addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")},
		}
		all, when := f.requests(stun.MethodCreatePermission)
		if len(all) != len(want) {
			t.Fatalf("%d requests, want %d", len(all), len(want))
		}
		for i, w := range want {
			if got := peersOf(t, all[i]); when[i].Sub(start) != w.after || !slices.Equal(got, w.peers) {
				t.Errorf("request %d after %v for %v, want after %v for %v", i, when[i].Sub(start), got, w.after, w.peers)
			}
		}
	})
}

// A refresh without an answer is repeated while the permissions still live; a peer that is refused by now is forgotten.
func TestPermissionRefreshFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, end := f.pipe()
		defer end()
		start := time.Now()
		var silent atomic.Bool
		var denied atomic.Pointer[netip.Addr]
		f.on[stun.MethodCreatePermission] = func(r *request) {
			if silent.Swap(false) {
				return
			}
			if p := denied.Load(); p != nil && slices.Contains(peersOf(t, r.m), *p) {
				r.refuse(stun.CodeForbidden)
				return
			}
			r.obey()
		}
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Permit(t.Context(), addrs("192.0.2.1", "192.0.2.2")...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		silent.Store(true)
		time.Sleep(270 * time.Second)
		synctest.Wait()
		_, when := f.requests(stun.MethodCreatePermission)
		// 240 s, 10 s without an answer, 10 s of pause
		if len(when) != 3 || when[2].Sub(start) != 260*time.Second {
			t.Fatalf("%d requests, the last after %v, want 3, 4m20s", len(when), when[len(when)-1].Sub(start))
		}
		denied.Store(&addrs("192.0.2.1")[0])
		time.Sleep(240 * time.Second)
		synctest.Wait()
		if got := a.Permitted(); !slices.Equal(got, addrs("192.0.2.2")) {
			t.Errorf("permitted %v, want 192.0.2.2", got)
		}
		if got := f.count(stun.MethodCreatePermission); got != 6 { // the batch, and each alone
			t.Errorf("%d requests, want 6", got)
		}
	})
}
