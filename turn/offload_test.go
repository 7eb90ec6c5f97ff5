package turn

import (
	"sync"
	"testing"
	"time"

	"traverse.internal/core/offload"
	"traverse.internal/core/stun"
)

// fickleKernel refuses channels until it is told otherwise, and keeps no time.
type fickleKernel struct {
	Offloader // nil: what is not here is not called

	mu      sync.Mutex
	refuse  error
	offers  []offload.Flow
	next    offload.Handle
	buckets bool // there are some
}

func (k *fickleKernel) Insert(f offload.Flow) (offload.Handle, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.offers = append(k.offers, f)
	if k.refuse != nil {
		return 0, k.refuse
	}
	k.next++
	return k.next, nil
}

func (k *fickleKernel) NewBucket() (offload.Bucket, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return 1, k.buckets
}

func (k *fickleKernel) Renew(offload.Handle, time.Duration)                  {}
func (k *fickleKernel) Meter(offload.Handle, offload.Bucket, offload.Bucket) {}
func (k *fickleKernel) Stop(offload.Handle)                                  {}
func (k *fickleKernel) Counts(offload.Handle) (both offload.Both)            { return both }
func (k *fickleKernel) Release(offload.Handle)                               {}
func (k *fickleKernel) Grant(offload.Bucket, int64) int64                    { return 0 }
func (k *fickleKernel) FreeBucket(offload.Bucket)                            {}
func (k *fickleKernel) Invalidate()                                          {}
func (k *fickleKernel) Sweep()                                               {}
func (k *fickleKernel) Stats() offload.Stats                                 { return offload.Stats{} }

func (k *fickleKernel) set(change func()) { k.mu.Lock(); defer k.mu.Unlock(); change() }

func (k *fickleKernel) seen() (n int, last offload.Flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n = len(k.offers); n > 0 {
		last = k.offers[n-1]
	}
	return n, last
}

// offering is a server without anybody who ticks, and a channel of it that the kernel is to be offered.
func offering(t *testing.T, k *fickleKernel, change func(*Config)) (*Server, *testClient) {
	t.Helper()
	s := startServer(t, func(c *Config) {
		c.Offload = k
		if change != nil {
			change(c)
		}
	})
	client, peer := dialUDP(t, s), newPeer(t, loop4)
	client.allocate()
	if code := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
		t.Fatal(code)
	}
	return s, client
}

// What the kernel refuses for now is offered again, later each time, and counted as refused once; what it can never take is
// not.
func TestRefusedChannelsAreOfferedAgain(t *testing.T) {
	for _, c := range []struct {
		refuse error
		again  bool
	}{
		{offload.ErrFull, true},
		{offload.ErrRoute, true},
		{offload.ErrLocal, true},
		{offload.ErrKernel, true},
		{offload.ErrFamily, false},
		{offload.ErrScope, false},
	} {
		t.Run(c.refuse.Error(), func(t *testing.T) {
			k := &fickleKernel{refuse: c.refuse}
			s, client := offering(t, k, nil)
			waitFor(t, "the first offer", func() bool { n, _ := k.seen(); return n == 1 })
			if _, f := k.seen(); f.Again {
				t.Error("the first offer says that it is not")
			}
			s.skew.Add(int64(offloadAgain))
			if !c.again {
				k.set(func() { k.refuse = nil })
				// One that comes later is taken: by then the other would have been offered.
				other := newPeer(t, loop4)
				if code := client.code(stun.MethodChannelBind, channel(0x4001), peerAt(other.addr)); code != 0 {
					t.Fatal(code)
				}
				waitFor(t, "another channel in the kernel", func() bool { return s.Sessions()[0].Offloaded == 1 })
				s.skew.Add(int64(offloadAtLast))
				for range 2 {
					before := ticks(s)
					waitFor(t, "a sweep", func() bool { return ticks(s) > before })
				}
				if n, _ := k.seen(); n != 2 {
					t.Errorf("%d offers, want one for each", n)
				}
				return
			}
			waitFor(t, "a second offer", func() bool { n, _ := k.seen(); return n == 2 })
			if _, f := k.seen(); !f.Again {
				t.Error("the second offer would be counted as another refusal")
			}
			k.set(func() { k.refuse = nil })
			s.skew.Add(int64(2 * offloadAgain))
			waitFor(t, "the channel in the kernel", func() bool { return s.Sessions()[0].Offloaded == 1 })
			if n, _ := k.seen(); n != 3 {
				t.Errorf("%d offers, want 3", n)
			}
		})
	}
}

// ticks is how many sweeps there were.
func ticks(s *Server) int {
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	return s.kernel.sweeps
}

// A wait doubles and ends at a minute, and only so many are offered at once.
func TestOffersGrowRare(t *testing.T) {
	var k kernel
	now := time.Unix(1000, 0)
	f := &offloaded{}
	var got []time.Duration
	for range 9 {
		k.postpone(now, f)
		got = append(got, f.wait)
		if due := k.takeDue(now.Add(f.wait - 1)); len(due) != 0 {
			t.Fatalf("due too early, after %v", f.wait)
		}
		if due := k.takeDue(now.Add(f.wait)); len(due) != 1 {
			t.Fatalf("not due after %v", f.wait)
		}
	}
	for i, want := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		if got[i] != time.Duration(want)*time.Second {
			t.Fatalf("waits: got %v", got)
		}
	}
	for range 2*offloadBatch + 1 {
		k.postpone(now, &offloaded{})
	}
	for _, want := range []int{offloadBatch, offloadBatch, 1, 0} {
		if due := k.takeDue(now.Add(time.Minute)); len(due) != want {
			t.Errorf("%d at once, want %d", len(due), want)
		}
	}
}

// A channel under a limit for which there is no bucket comes out of the kernel, and in again when there is one.
func TestChannelsWaitForBuckets(t *testing.T) {
	k := &fickleKernel{}
	s, _ := offering(t, k, func(c *Config) { c.Limits.UserRate = 1 << 20 })
	waitFor(t, "the first offer", func() bool { n, _ := k.seen(); return n == 1 })
	waitFor(t, "it to be over", func() bool { return s.Sessions()[0].Offloaded == 0 })
	k.set(func() { k.buckets = true })
	s.skew.Add(int64(offloadAtLast))
	waitFor(t, "the channel in the kernel", func() bool { return s.Sessions()[0].Offloaded == 1 })
}
