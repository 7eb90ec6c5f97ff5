package turnclient

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/stun"
)

func TestAllocate(t *testing.T) {
	tests := []struct {
		family  Family
		relayed netip.AddrPort
		attr    stun.Family // of the request, 0: none
	}{
		{IPv4, relayed4, 0},
		{IPv6, relayed6, stun.FamilyIPv6},
	}
	for _, tt := range tests {
		t.Run(tt.family.String(), func(t *testing.T) {
			f := newFake(t)
			a := f.allocate(tt.family)
			if a.Relayed() != tt.relayed || a.Mapped() != mapped {
				t.Errorf("got relayed %v, mapped %v, want %v, %v", a.Relayed(), a.Mapped(), tt.relayed, mapped)
			}
			if _, err := a.c.Allocate(t.Context(), IPv4); !errors.Is(err, ErrAllocated) {
				t.Errorf("second allocation: %v, want %v", err, ErrAllocated)
			}
			if err := a.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := a.Err(); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("Err = %v, want %v", err, ErrClosed)
			}
			if err := a.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}

			all, _ := f.requests(stun.MethodAllocate)
			if len(all) != 2 || all[0].Has(stun.AttrMessageIntegrity) || !all[1].Has(stun.AttrMessageIntegrity) {
				t.Fatalf("%d requests, want a bare and a signed one", len(all))
			}
			for _, m := range all {
				if tr, err := m.RequestedTransport(); tr != stun.TransportTCP || err != nil {
					t.Errorf("transport = %v, %v, want TCP", tr, err)
				}
				if fam, _ := m.Family(stun.AttrRequestedAddressFamily); fam != tt.attr {
					t.Errorf("family = %v, want %v", fam, tt.attr)
				}
			}
			bye, _ := f.requests(stun.MethodRefresh)
			if len(bye) != 1 {
				t.Fatalf("%d Refresh, want 1", len(bye))
			}
			if s, err := bye[0].Uint32(stun.AttrLifetime); s != 0 || err != nil {
				t.Errorf("lifetime of the farewell = %d, %v, want 0", s, err)
			}
		})
	}
}

// A relay without credentials is asked for nothing that it did not ask for.
func TestAllocateWithoutCredentials(t *testing.T) {
	f := newFake(t)
	f.before = func(r *request) bool {
		b := stun.Respond(nil, r.m, stun.ClassSuccess)
		b.AddXORAddr(stun.AttrXORRelayedAddress, relayed4)
		b.AddXORAddr(stun.AttrXORMappedAddress, mapped)
		b.AddUint32(stun.AttrLifetime, 600)
		r.send(b.Bytes())
		return true
	}
	a := f.allocate(IPv4)
	if a.Relayed() != relayed4 {
		t.Errorf("relayed = %v", a.Relayed())
	}
	if err := a.Permit(t.Context(), addrs("192.0.2.1")...); err != nil {
		t.Errorf("Permit: %v", err)
	}
}

// An allocation that is of no use is given up at once.
func TestAllocateUselessAnswer(t *testing.T) {
	type answer struct {
		relayed  netip.AddrPort
		lifetime uint32
	}
	tests := []struct {
		name   string
		family Family
		answer answer
		want   error
	}{
		{"IPv4 when asked for IPv6", IPv6, answer{relayed4, 600}, ErrFamily},
		{"IPv6 when asked for IPv4", IPv4, answer{relayed6, 600}, ErrFamily},
		{"no port", IPv4, answer{netip.AddrPortFrom(relayed4.Addr(), 0), 600}, ErrGarbage},
		{"0.0.0.0", IPv4, answer{netip.MustParseAddrPort("0.0.0.0:50000"), 600}, ErrGarbage},
		{"no time", IPv4, answer{relayed4, 0}, ErrGarbage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.on[stun.MethodAllocate] = func(r *request) {
				r.success(func(b *stun.Builder) {
					b.AddXORAddr(stun.AttrXORRelayedAddress, tt.answer.relayed)
					b.AddXORAddr(stun.AttrXORMappedAddress, mapped)
					b.AddUint32(stun.AttrLifetime, tt.answer.lifetime)
				})
			}
			c := f.dial(5 * time.Second)
			if _, err := c.Allocate(t.Context(), tt.family); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			<-c.Done()
		})
	}
	for _, missing := range []stun.AttrType{stun.AttrXORRelayedAddress, stun.AttrXORMappedAddress, stun.AttrLifetime} {
		t.Run("without "+missing.String(), func(t *testing.T) {
			f := newFake(t)
			f.on[stun.MethodAllocate] = func(r *request) {
				r.success(func(b *stun.Builder) {
					for _, a := range []stun.AttrType{stun.AttrXORRelayedAddress, stun.AttrXORMappedAddress} {
						if a != missing {
							b.AddXORAddr(a, relayed4)
						}
					}
					if missing != stun.AttrLifetime {
						b.AddUint32(stun.AttrLifetime, 600)
					}
				})
			}
			_, err := f.dial(5*time.Second).Allocate(t.Context(), IPv4)
			if !errors.Is(err, ErrGarbage) || !errors.Is(err, stun.ErrMissing) {
				t.Errorf("got %v, want %v", err, ErrGarbage)
			}
		})
	}
}

func TestRefreshTimes(t *testing.T) {
	tests := []struct {
		lifetime uint32
		want     time.Duration
	}{
		{600, 540 * time.Second},
		{3600, 3540 * time.Second},
		{120, 60 * time.Second},
		{60, 30 * time.Second},
		{1, 500 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.want.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lifetime = tt.lifetime
				c, end := f.pipe()
				defer end()
				start := time.Now()
				a, err := c.Allocate(t.Context(), IPv4)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(3*tt.want + 1) // in a bubble: until three refreshes are due
				synctest.Wait()
				all, when := f.requests(stun.MethodRefresh)
				if len(all) != 3 {
					t.Fatalf("%d refreshes, want 3", len(all))
				}
				for i := range when {
					if got, want := when[i].Sub(start), time.Duration(i+1)*tt.want; got != want {
						t.Errorf("refresh %d after %v, want %v", i, got, want)
					}
				}
				if err := a.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRefreshIsRepeatedUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.on[stun.MethodRefresh] = func(r *request) { r.refuse(stun.CodeServerError) }
		c, end := f.pipe()
		defer end()
		start := time.Now()
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		<-a.Done()
		if got, want := time.Since(start), 600*time.Second; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		if e := as[*Error](t, a.Err()); e.Code != stun.CodeServerError {
			t.Errorf("ended by %v", e)
		}
		if got, want := f.count(stun.MethodRefresh), 7; got != want { // after 540, 550, ... 600 s
			t.Errorf("%d refreshes, want %d", got, want)
		}
	})
}

// A server that was restarted knows nothing of us.
func TestAllocationMismatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.on[stun.MethodRefresh] = func(r *request) { r.refuse(stun.CodeAllocationMismatch) }
		c, end := f.pipe()
		defer end()
		start := time.Now()
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		<-a.Done()
		if got, want := time.Since(start), 540*time.Second; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		if err := a.Permit(t.Context(), addrs("192.0.2.1")...); !isGone(err) {
			t.Errorf("Permit afterwards: %v", err)
		}
	})
}

// Saying goodbye to a server that does not answer takes a second.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.on[stun.MethodRefresh] = func(*request) {}
		c, end := f.pipe()
		defer end()
		a, err := c.Allocate(t.Context(), IPv4)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != closeTimeout {
			t.Errorf("took %v, want %v", got, closeTimeout)
		}
	})
}

// A server that does not even read cannot hold Close up either.
func TestCloseIsBoundedWhenNothingIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := newClient(near, "relay:3478", Config{Timeout: time.Minute})
		a := &Allocation{lease: newLease(c, IPv4)}
		start := time.Now()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != closeTimeout {
			t.Errorf("took %v, want %v", got, closeTimeout)
		}
	})
}
