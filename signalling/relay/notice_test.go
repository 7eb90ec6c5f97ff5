package relay_test

import (
	"context"
	"testing"
	"time"

	"traverse.internal/signalling/relay"
	"traverse.internal/turn"
)

// TestNotice: a device without a relay tells a registered one, and one that has the same, that it is there; the relay pushes each once, and is told no answer.
func TestNotice(t *testing.T) {
	s, _ := startTurnd(t, turn.Config{})
	b := &board{}
	told, newcomer, neighbour := b.start(t, newDevice(t), plain(s)), b.start(t, newDevice(t)), b.start(t, newDevice(t), plain(s))
	told.waitUp(t)
	neighbour.waitUp(t)
	waitFor(t, "two mailboxes each", func() bool { return s.Stats().Push.Mailboxes >= 4 })
	for _, n := range []*node{newcomer, neighbour} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := n.signaler.Notify(ctx, told.id, []byte("here")); err != nil {
			t.Fatalf("%v; relay %+v", err, s.Stats().Push)
		}
		cancel()
	}
	waitFor(t, "both notices", func() bool { return told.signaler.Stats().NoticesTaken == 2 })
	if st := s.Stats().Push; st.Pushed != 2 || st.Answers != 0 {
		t.Errorf("relay: %+v", st)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := told.signaler.Notify(ctx, newcomer.id, nil); err == nil {
		t.Error("a device at no relay was told")
	}
}

// TestHeard: a call of a device that was not registered waits longer and longer for the next try; the device's word that it is there now ends that.
func TestHeard(t *testing.T) {
	s, _ := startTurnd(t, turn.Config{})
	b := &board{}
	called, caller := b.start(t, newDevice(t)), b.start(t, newDevice(t))
	b.pretend(called, s.TCPAddrs()[0]) // its record says more than is true
	answered := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	go func() {
		_, err := caller.signaler.Call(ctx, called.id, []byte("offer"))
		answered <- err
	}()
	waitFor(t, "two tries in vain", func() bool { return caller.route.Stats().NotHere >= 2 }) // the next is 4 s away
	late := time.After(4 * time.Second)
	called.route.SetRelays([]relay.Relay{plain(s)})
	called.waitUp(t)
	waitFor(t, "its mailboxes", func() bool { return s.Stats().Push.Mailboxes > 0 })
	caller.route.Heard(called.id)
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-late:
		t.Error("nothing was handed in when it was heard of")
	}
	if st := caller.route.Stats(); st.NotHere != 2 || st.Pushed != 1 {
		t.Errorf("caller: %+v", st)
	}
}
