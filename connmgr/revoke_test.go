package connmgr

import (
	"errors"
	"sync"
	"testing"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// revocations is a set of devices that a test revokes.
type revocations struct {
	mu   sync.Mutex // guards the field below
	gone map[identity.DeviceID]bool
}

func (r *revocations) add(id identity.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = map[identity.DeviceID]bool{id: true}
}

func (r *revocations) has(id identity.DeviceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone[id]
}

// A device that is revoked loses its live session, whose end says why on both sides, and gets no new one from either side.
func TestRevokedDevice(t *testing.T) {
	w := newWorld(t)
	r := new(revocations)
	a, b := w.device(func(c *Config) { c.Revoked = r.has }), w.device()
	a.echo(t)
	ch, _, err := b.Connect(testCtx(t), a.self, "kept")
	if err != nil {
		t.Fatal(err)
	}
	r.add(b.self)
	if n := a.Revoke(b.self); n != 1 {
		t.Errorf("revoked %d sessions, want 1", n)
	}
	_, err = ch.Read(make([]byte, 1))
	var gone *mux.GoAwayError
	if !errors.As(err, &gone) || gone.Code != framing.CodeRevoked || !gone.Remote || reason.Of(err) != reason.AuthRevoked {
		t.Errorf("the device's channel ended with %v", err)
	}
	for _, d := range []*testDevice{a, b} {
		d.until(t, "the session's end", func() bool { return d.count(EventEnded) == 1 })
		d.mu.Lock()
		for _, e := range d.events {
			if e.Kind == EventEnded && e.Reason != reason.AuthRevoked {
				t.Errorf("the session ended with reason %q: %v", e.Reason, e.Err)
			}
		}
		d.mu.Unlock()
	}
	gathered := a.node.gathered
	if _, _, err := b.Connect(testCtx(t), a.self, "again"); err == nil {
		t.Error("the device has a new session")
	}
	if _, _, err := a.Connect(testCtx(t), b.self, "again"); reason.Of(err) != reason.AuthRevoked {
		t.Errorf("calling the device: %v", err)
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	if a.node.gathered != gathered {
		t.Error("something was gathered for a device that is revoked")
	}
}

// A session that was being made while its device was revoked ends at once.
func TestRevokedWhileConnecting(t *testing.T) {
	w := newWorld(t)
	calls, r := 0, sync.Mutex{}
	b := w.device()
	a := w.device(func(c *Config) {
		c.Revoked = func(identity.DeviceID) bool {
			r.Lock()
			defer r.Unlock()
			calls++
			return calls > 1 // allowed when the request came, revoked when the link was there
		}
	})
	if _, _, err := b.Connect(testCtx(t), a.self, "late"); err == nil {
		t.Error("the device has a session")
	}
	a.until(t, "no session", func() bool { return a.Stats().Sessions == 0 })
}

// What HELLO says of device lists reaches the other side, in both directions.
func TestGreetedWithDeviceLists(t *testing.T) {
	w := newWorld(t)
	type greeting struct {
		peer  identity.DeviceID
		lists []framing.AccountVersion
	}
	heard := make(chan greeting, 2)
	with := func(version uint64) func(*Config) {
		return func(c *Config) {
			c.Accounts = func(identity.DeviceID) []framing.AccountVersion {
				return []framing.AccountVersion{{Account: [32]byte{1}, Version: version}}
			}
			c.Greeted = func(peer identity.DeviceID, lists []framing.AccountVersion) { heard <- greeting{peer, lists} }
		}
	}
	a, b := w.device(with(3)), w.device(with(4))
	a.echo(t)
	if _, _, err := b.Connect(testCtx(t), a.self, "x"); err != nil {
		t.Fatal(err)
	}
	want := map[identity.DeviceID]uint64{a.self: 3, b.self: 4}
	for range 2 {
		g := <-heard
		if len(g.lists) != 1 || g.lists[0].Version != want[g.peer] {
			t.Errorf("heard %+v", g)
		}
	}
}
