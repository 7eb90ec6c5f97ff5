package connmgr

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
	"testing"

	"traverse.internal/core/mux"
	"traverse.internal/identity"
)

// Who is being called and who is connected can be seen from outside, at every moment.
func TestStatesAreVisible(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	b.echo(t)
	block := make(chan struct{})
	a.node.delay = block
	connected := make(chan error, 1)
	go func() {
		_, _, err := a.Connect(testCtx(t), b.self, "echo")
		connected <- err
	}()
	a.until(t, "the device to be called", func() bool { return slices.Contains(a.Connecting(), b.self) && a.Stats().Dialling == 1 })
	if len(a.Sessions()) != 0 {
		t.Error("there is a session before there is one")
	}
	close(block)
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	for _, d := range []*testDevice{a, b} {
		d.until(t, "the device to be connected", func() bool {
			all := d.Sessions()
			return len(all) == 1 && all[0].State == StateConnected && len(d.Connecting()) == 0
		})
	}
}

// A device is new once, however often it connects.
func TestNewDeviceOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	b.echo(t)
	for round := 1; round <= 3; round++ {
		ch, _, err := a.Connect(testCtx(t), b.self, "echo")
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, ch, []byte("there"))
		a.Disconnect(b.self)
		for _, d := range []*testDevice{a, b} {
			d.until(t, "the session's end", func() bool { return d.count(EventEnded) == round && len(d.Sessions()) == 0 })
		}
	}
	for _, d := range []*testDevice{a, b} {
		if n := d.count(EventNewDevice); n != 1 || d.count(EventConnected) != 3 {
			t.Errorf("%d times new in %d sessions, want once in 3", n, d.count(EventConnected))
		}
	}
}

// What observes the manager may use it: open and close channels when a session comes, call again when one has ended.
func TestObserverMayUseTheManager(t *testing.T) {
	w := newWorld(t)
	var a *testDevice
	var b identity.DeviceID
	var answered, again atomic.Int32
	ready := make(chan struct{})
	open := func(name string) (*mux.Channel, error) {
		ch, _, err := a.Connect(context.Background(), b, name)
		if err == nil {
			if _, err = ch.Write([]byte("x")); err == nil {
				_, err = io.ReadFull(ch, make([]byte, 1))
			}
		}
		return ch, err
	}
	a = w.device(func(c *Config) {
		inner := c.Observe
		c.Observe = func(e Event) {
			inner(e)
			<-ready
			switch e.Kind {
			case EventConnected:
				one, err := open("one")
				if err != nil {
					return
				}
				if two, err := open("two"); err == nil {
					answered.Add(1)
					_ = two.Close()
				}
				_ = one.Close()
			case EventEnded:
				if again.Add(1) == 1 { // once: the end of that session comes, too
					_, _ = open("again")
				}
			}
		}
	})
	peer := w.device()
	peer.echo(t)
	b = peer.self
	close(ready)
	if _, _, err := a.Connect(testCtx(t), b, "first"); err != nil {
		t.Fatal(err)
	}
	a.until(t, "the observer has opened two channels", func() bool { return answered.Load() == 1 })
	a.Disconnect(b)
	a.until(t, "the observer has called again, and used that session too", func() bool {
		return a.count(EventConnected) == 2 && answered.Load() == 2
	})
}
