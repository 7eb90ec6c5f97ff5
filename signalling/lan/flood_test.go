package lan

import (
	"bytes"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// flood is a socket at which a datagram lies whenever one is read, for a while.
type flood struct {
	packet []byte
	until  time.Time
	reads  int
}

func (f *flood) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if !time.Now().Before(f.until) {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	f.reads++
	return copy(b, f.packet), netip.MustParseAddrPort("192.0.2.1:5353"), nil
}

// TestFlood: whatever a neighbour sends, no more than so many datagrams a second are read, and so much work is done.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seconds = 10
		f := &flood{packet: make([]byte, 100), until: time.Now().Add(seconds * time.Second)}
		var paused atomic.Uint64
		taken := 0
		(&sockets{paused: &paused}).read(f, func(netip.AddrPort, []byte) { taken++ })
		if most := heardBurst + seconds*heardRate; taken > most+seconds*int(time.Second/heardPause) || taken < most/2 {
			t.Errorf("%d of a flood were taken in %d s, want about %d", taken, seconds, most)
		}
		if taken != f.reads || paused.Load() == 0 {
			t.Errorf("%d were read, %d taken, %d pauses", f.reads, taken, paused.Load())
		}
	})
}

// listening is a route that one contact may call, without a network of its own.
func listening(t *testing.T) (r *Route, contact *identity.Device, taken *int) {
	t.Helper()
	self, contact := newDevice(t), newDevice(t)
	r, err := Open(Config{Device: self, Peers: func() []identity.DeviceID { return []identity.DeviceID{contact.ID()} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	taken = new(int)
	r.Attach(func(signalling.Arrival) { *taken++ })
	r.learn(time.Now())
	return r, contact, taken
}

// TestFloodOfQueries: ten thousand queries a second, for strangers and with a contact's own name, which all on the link have seen, are
// answered at the contact's rate, and nothing is kept of them.
func TestFloodOfQueries(t *testing.T) {
	r, contact, taken := listening(t)
	secret, err := r.cfg.Secrets.Of(contact.ID())
	if err != nil {
		t.Fatal(err)
	}
	from := netip.MustParseAddrPort("127.0.0.1:9") // nobody is there
	known := hintOf(secret, contact.ID(), r.self, time.Now().Unix()/3600)
	ours, err := appendQuery(known, 1)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := appendQuery(hint{1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	const many = 10_000
	began := time.Now()
	for range many {
		r.answer(from, ours)
		r.answer(from, theirs)
		r.receive(from, appendDatagram(nil, datagram{kindRequest, known, tag{1}, bytes.Repeat([]byte{1}, 896)}))
		r.receive(from, appendDatagram(nil, datagram{kindRequest, hint{1}, tag{1}, []byte{1}}))
		r.receive(from, appendDatagram(nil, datagram{kindAnswer, known, tag{1}, []byte{1}}))
		r.receive(from, []byte("noise"))
	}
	most := uint64(contactBurst + contactRate*(1+time.Since(began)/time.Second))
	s := r.Stats()
	if s.Replied == 0 || s.Replied > most || s.Replied+s.Limited != many {
		t.Errorf("%d queries of a contact's name were answered and %d not, want %d at most", s.Replied, s.Limited, most)
	}
	if s.Received == 0 || s.Received > most || s.Received+s.Flooded != many || int(s.Received) != *taken {
		t.Errorf("%d requests were taken and %d not, %d handed on, want %d at most", s.Received, s.Flooded, *taken, most)
	}
	if s.Unknown != many || s.Strange != 2*many || s.Malformed != many {
		t.Errorf("%d unknown, %d strange, %d malformed, want %d, %d, %d", s.Unknown, s.Strange, s.Malformed, many, 2*many, many)
	}
	if len(r.calls)+len(r.places) != 0 || len(r.marks) > 2 {
		t.Errorf("kept of it: %d calls, %d places, %d marks", len(r.calls), len(r.places), len(r.marks))
	}
}

// TestFloodOfReplies: who calls keeps no more than its queue of those who say that they are the contact.
func TestFloodOfReplies(t *testing.T) {
	r, _, _ := listening(t)
	h := hint{7}
	found := make(chan netip.AddrPort, queue)
	r.places[h] = found
	for i := range 10_000 {
		b, err := appendReply(h, 1, uint16(1+i))
		if err != nil {
			t.Fatal(err)
		}
		r.receive(netip.MustParseAddrPort("127.0.0.1:9"), b)
	}
	if s := r.Stats(); len(found) != queue || s.Flooded != 10_000-queue {
		t.Errorf("%d places wait and %d were dropped, want %d and the rest", len(found), s.Flooded, queue)
	}
}

// TestDropsAllocateNothing: what a stranger sends is dropped without memory for it.
func TestDropsAllocateNothing(t *testing.T) {
	r, _, _ := listening(t)
	from := netip.MustParseAddrPort("127.0.0.1:9")
	for name, b := range map[string][]byte{
		"a request": appendDatagram(nil, datagram{kindRequest, hint{1}, tag{1}, bytes.Repeat([]byte{1}, 896)}),
		"an answer": appendDatagram(nil, datagram{kindAnswer, hint{1}, tag{1}, bytes.Repeat([]byte{1}, 896)}),
		"noise":     bytes.Repeat([]byte{0xff}, 1400),
	} {
		if n := testing.AllocsPerRun(100, func() { r.receive(from, b) }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
