package connmgr

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"traverse.internal/core/mux"
)

func TestOptionNoNew(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	b.echo(t)
	if _, _, err := a.ConnectWith(testCtx(t), b.self, "x", Options{NoNew: true}); !errors.Is(err, ErrNoSession) {
		t.Fatalf("err = %v, want ErrNoSession", err)
	}
	if n := a.node.callCount(); n != 0 {
		t.Fatalf("calls = %d, want none", n)
	}
	if _, _, err := a.Connect(testCtx(t), b.self, "x"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.ConnectWith(testCtx(t), b.self, "x", Options{NoNew: true}); err != nil {
		t.Errorf("with a session: %v", err)
	}
}

func TestOptionForceNew(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	b.echo(t)
	old, info, err := a.Connect(testCtx(t), b.self, "x")
	if err != nil {
		t.Fatal(err)
	}
	ch, info2, err := a.ConnectWith(testCtx(t), b.self, "x", Options{ForceNew: true})
	if err != nil {
		t.Fatal(err)
	}
	if info2.SessionID == info.SessionID {
		t.Fatal("ForceNew returned the old session")
	}
	roundTrip(t, old, []byte("the old session drains: its channel goes on"))
	roundTrip(t, ch, []byte("the new one works"))
	_ = old.Close()
	a.until(t, "the old session to end with its last channel", func() bool { return len(a.Sessions()) == 1 })
}

func TestOptionUnique(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	b.echo(t)
	const callers = 20
	var wg sync.WaitGroup
	got := make([]*mux.Channel, callers)
	for i := range callers {
		wg.Go(func() {
			ch, _, err := a.ConnectWith(testCtx(t), b.self, "one", Options{Unique: true})
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
			got[i] = ch
		})
	}
	wg.Wait()
	for _, ch := range got {
		if ch != got[0] {
			t.Fatal("unique callers got different channels")
		}
	}
	other, _, err := a.ConnectWith(testCtx(t), b.self, "two", Options{Unique: true})
	if err != nil || other == got[0] {
		t.Fatalf("another name: channel %p err %v, want a channel of its own", other, err)
	}
	plain, _, err := a.Connect(testCtx(t), b.self, "one")
	if err != nil || plain == got[0] {
		t.Fatalf("not unique: channel %p err %v, want a new channel", plain, err)
	}

	// The side that accepted it finds it by its name too.
	back, _, err := b.ConnectWith(testCtx(t), a.self, "two", Options{Unique: true})
	if err != nil || back.ID() != other.ID() {
		t.Fatalf("from the other side: err %v, want channel %d", err, other.ID())
	}

	// After it was shut there is a new one.
	_ = got[0].Close()
	<-got[0].Done()
	again, _, err := a.ConnectWith(testCtx(t), b.self, "one", Options{Unique: true})
	if err != nil || again == got[0] {
		t.Fatalf("after Close: err %v, want a new channel", err)
	}
}

// Both sides ask for the same unique name on a live session at the same moment: one channel, and both hold its ends.
func TestOptionUniqueFromBothSides(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	a.echo(t)
	b.echo(t)
	if _, _, err := a.Connect(testCtx(t), b.self, "warm"); err != nil {
		t.Fatal(err)
	}
	for round := range 50 {
		// A name of its own each round: a request that crossed in one must not be there for the next.
		name := fmt.Sprintf("both %d", round)
		var wg sync.WaitGroup
		var ends [2]*mux.Channel
		for i, d := range []*testDevice{a, b} {
			wg.Go(func() {
				peer := []*testDevice{b, a}[i]
				ch, _, err := d.ConnectWith(testCtx(t), peer.self, name, Options{Unique: true})
				if err != nil {
					t.Errorf("side %d: %v", i, err)
				}
				ends[i] = ch
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		if ends[0].ID() != ends[1].ID() {
			t.Fatalf("channels %d and %d, want one", ends[0].ID(), ends[1].ID())
		}
		for _, ch := range ends {
			_ = ch.Reset(0, "next round")
		}
		<-ends[0].Done()
		<-ends[1].Done()
	}
}

func TestAttemptLimit(t *testing.T) {
	w := newWorld(t)
	a := w.device(func(c *Config) { c.MaxAttempts = 1 })
	b, c := w.device(), w.device()
	block := make(chan struct{})
	defer close(block)
	a.node.delay = block
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _, _, _ = a.Connect(ctx, b.self, "x") }()
	a.until(t, "the first attempt to begin", func() bool { return a.Stats().Dialling == 1 })
	if _, _, err := a.Connect(testCtx(t), c.self, "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("err = %v, want ErrBusy", err)
	}
}
