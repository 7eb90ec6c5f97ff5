package connmgr

import (
	"context"
	"testing"
	"time"

	"traverse.internal/core/mux"
	"traverse.internal/identity"
)

// TestSessionsOfOneDeviceAreBounded: a contact that keeps a channel open on every session and calls again and again does not
// pile up sessions, each with its socket, goroutines and windows; whoever calls anew still gets through.
func TestSessionsOfOneDeviceAreBounded(t *testing.T) {
	w := newWorld(t)
	a, b := w.device(), w.device()
	go func() {
		for {
			in, err := a.Accept(context.Background())
			if err != nil {
				return
			}
			_, _ = in.Accept() // and never ended
		}
	}()
	var last *mux.Channel
	for range maxSessions + 4 {
		ch, _, err := b.ConnectWith(testCtx(t), a.self, "kept", Options{ForceNew: true})
		if err != nil {
			t.Fatal(err)
		}
		last = ch
	}
	a.until(t, "no more sessions than one device may have", func() bool { return a.Stats().Sessions <= maxSessions })
	if ended(last) {
		t.Error("the newest session's channel has ended")
	}
}

// TestCloseDoesNotWaitForEachInTurn: sessions whose peers read nothing any more take their second of good-bye together.
func TestCloseDoesNotWaitForEachInTurn(t *testing.T) {
	w := newWorld(t)
	a := w.device()
	const peers = 8
	for range peers {
		b := w.device()
		b.echo(t)
		if _, _, err := a.Connect(testCtx(t), b.self, "kept"); err != nil {
			t.Fatal(err)
		}
	}
	w.net.freeze()
	began := time.Now()
	a.Close()
	if took := time.Since(began); took > peers*time.Second/2 {
		t.Errorf("closing %d sessions whose peers are gone took %v", peers, took)
	}
}

// TestLateChangeDoesNotForgetAFreshPeer: a device's entry that was forgotten while somebody held it takes no newer one with it,
// whose waiters nobody would wake.
func TestLateChangeDoesNotForgetAFreshPeer(t *testing.T) {
	w := newWorld(t)
	a := w.device()
	id := identity.DeviceID{1}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.peerLocked(id)
	a.changedLocked(old) // nothing is going on with the device: forgotten
	fresh := a.peerLocked(id)
	fresh.inbound++
	a.changedLocked(old)
	if a.peers[id] != fresh {
		t.Error("the fresh entry is gone")
	}
	fresh.inbound--
	a.changedLocked(fresh)
}
