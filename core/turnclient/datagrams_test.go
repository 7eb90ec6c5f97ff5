package turnclient

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/stun"
)

var somePeer = netip.MustParseAddrPort("203.0.113.9:4242")

// allocateUDP returns a UDP allocation at the fake without a network.
func (f *fake) allocateUDP(t *testing.T, receive func(netip.AddrPort, []byte)) (a *UDPAllocation, end func()) {
	t.Helper()
	c, end := f.pipe()
	a, err := c.AllocateUDP(t.Context(), IPv4, receive)
	if err != nil {
		t.Fatal(err)
	}
	return a, end
}

// Channels and permissions are renewed before they end, and a channel that the relay refuses by then is not used any more.
func TestChannelsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var refuses atomic.Bool
		f.on[stun.MethodChannelBind] = func(r *request) {
			if refuses.Load() {
				r.refuse(stun.CodeForbidden)
				return
			}
			r.obey()
		}
		a, end := f.allocateUDP(t, func(netip.AddrPort, []byte) {})
		defer end()
		if err := a.Permit(t.Context(), somePeer.Addr()); err != nil {
			t.Fatal(err)
		}
		if err := a.Bind(t.Context(), somePeer); err != nil {
			t.Fatal(err)
		}
		if err := a.Bind(t.Context(), somePeer); err != nil || f.count(stun.MethodChannelBind) != 1 {
			t.Errorf("%d requests for one channel, %v", f.count(stun.MethodChannelBind), err)
		}
		time.Sleep(permissionRefresh + time.Second)
		synctest.Wait()
		binds, when := f.requests(stun.MethodChannelBind)
		last := binds[len(binds)-1]
		num, err := last.ChannelNumber()
		if f.count(stun.MethodChannelBind) != 2 || err != nil || num != stun.MinChannel || when[len(when)-1].Sub(when[0]) < permissionRefresh {
			t.Errorf("%d ChannelBinds, the last of %#x (%v) after %v", f.count(stun.MethodChannelBind), num, err, when[len(when)-1].Sub(when[0]))
		}
		refuses.Store(true)
		time.Sleep(permissionRefresh + time.Second)
		synctest.Wait()
		if got := a.Bound(); len(got) != 0 {
			t.Errorf("bound %v after the relay refused", got)
		}
	})
}

// No more peers than MaxChannels get a channel; the rest is reached without.
func TestChannelsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, end := newFake(t).allocateUDP(t, func(netip.AddrPort, []byte) {})
		defer end()
		for i := range MaxChannels {
			if err := a.Bind(t.Context(), netip.AddrPortFrom(somePeer.Addr(), uint16(1000+i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Bind(t.Context(), somePeer); !errors.Is(err, ErrLimit) {
			t.Errorf("got %v, want %v", err, ErrLimit)
		}
	})
}

// A control connection that takes nothing does not hold Send up, nor does what waits grow beyond its bound.
func TestSendNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		stop := make(chan struct{})
		f.on[stun.MethodCreatePermission] = func(*request) { <-stop } // the fake reads no more
		a, end := f.allocateUDP(t, func(netip.AddrPort, []byte) {})
		defer end()
		defer close(stop)
		go func() { _ = a.Permit(t.Context(), somePeer.Addr()) }()
		synctest.Wait()
		began, sent := time.Now(), 0
		for a.Send(somePeer, make([]byte, 1200)) {
			if sent++; sent > 2*maxUnsent/1200 {
				t.Fatalf("%d datagrams wait", sent)
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("Send waited %v", time.Since(began))
		}
		if _, out := a.Dropped(); out != 1 {
			t.Errorf("%d dropped, want 1", out)
		}
	})
}

func TestWhatIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, end := newFake(t).allocateUDP(t, func(netip.AddrPort, []byte) {})
		if a.Send(relayed6, []byte("x")) {
			t.Error("sent to the other family")
		}
		if a.Send(somePeer, make([]byte, MaxDatagram+1)) {
			t.Error("sent more than MaxDatagram")
		}
		end()
		if a.Send(somePeer, []byte("x")) {
			t.Error("sent after the end")
		}
	})
}

func TestOneAllocationOfEitherKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		a, end := f.allocateUDP(t, func(netip.AddrPort, []byte) {})
		defer end()
		if _, err := a.c.Allocate(t.Context(), IPv4); !errors.Is(err, ErrAllocated) {
			t.Errorf("TCP beside UDP: %v", err)
		}
		if _, err := a.c.AllocateUDP(t.Context(), IPv4, nil); !errors.Is(err, ErrAllocated) {
			t.Errorf("UDP beside UDP: %v", err)
		}
	})
}

// Over UDP a request is repeated until its answer comes, each time as it was.
func TestRequestsAreRepeatedOverUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		lost := 0
		f.before = func(r *request) bool {
			lost++
			return lost <= 3
		}
		f.udp = true
		c, end := f.pipe()
		defer end()
		began := time.Now()
		if _, err := c.AllocateUDP(t.Context(), IPv4, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(began), (1+2+4)*firstWait; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
		all, _ := f.requests(stun.MethodAllocate)
		for _, m := range all[1:4] {
			if !bytes.Equal(m.Raw, all[0].Raw) {
				t.Errorf("repeated as %x, was %x", m.Raw, all[0].Raw)
			}
		}
	})
}

// Whatever a server sends once it may send datagrams: frames are taken off whole, what is handed over has a peer and at most
// MaxDatagram bytes, and channels nobody bound lead nowhere. Over UDP the same bytes are one frame, and never more.
func FuzzRelayedBytes(f *testing.F) {
	data := stun.New(nil, stun.MethodData.Indication(), stun.TransactionID{1})
	data.AddXORAddr(stun.AttrXORPeerAddress, somePeer)
	data.Add(stun.AttrData, []byte("hello"))
	f.Add(data.Bytes())
	f.Add(append(stun.AppendChannelDataHeader(nil, stun.MinChannel, 5), "hello\x00\x00\x00"...))
	f.Add(append(stun.AppendChannelDataHeader(nil, stun.MinChannel+1, 5), "hello\x00\x00\x00"...))
	f.Add(append(stun.AppendChannelDataHeader(data.Bytes(), stun.MinChannel, 5000), make([]byte, 5000)...))
	long := stun.New(nil, stun.MethodData.Indication(), stun.TransactionID{1})
	long.AddXORAddr(stun.AttrXORPeerAddress, somePeer)
	long.Add(stun.AttrData, make([]byte, 9000))
	f.Add(append(long.Bytes(), data.Bytes()...))
	icmp := stun.New(nil, stun.MethodData.Indication(), stun.TransactionID{1})
	icmp.AddXORAddr(stun.AttrXORPeerAddress, somePeer)
	icmp.AddICMP(3, 1, 0)
	f.Add(icmp.Bytes())
	f.Add([]byte("\x40"))

	f.Fuzz(func(t *testing.T, in []byte) {
		c := &Client{attempts: make(chan attempt, maxAttempts), calls: make(map[stun.TransactionID]*call)}
		a := &UDPAllocation{lease: newLease(c, IPv4)}
		a.chans.peer = map[uint16]netip.AddrPort{stun.MinChannel: somePeer}
		var got int
		a.receive = func(from netip.AddrPort, b []byte) {
			got += len(b)
			if len(b) > MaxDatagram || !from.IsValid() || from.Addr().Is4In6() {
				t.Fatalf("%d bytes from %v", len(b), from)
			}
		}
		c.datagrams.Store(a)
		r, scratch := bufio.NewReader(bytes.NewReader(in)), make([]byte, scratchLen)
		for c.readOne(r, scratch) == nil {
		}
		if got > len(in) {
			t.Fatalf("%d bytes out of %d", got, len(in))
		}
		if len(in) > 0 {
			_ = c.frame(a, bytes.Clone(in))
			_ = c.frame(nil, bytes.Clone(in))
		}
	})
}
