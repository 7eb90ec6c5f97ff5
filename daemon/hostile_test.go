package daemon

import (
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/transfer"
)

func receiving(peer identity.DeviceID, id string) Transfer {
	return Transfer{ID: id, Direction: "receive", State: StateOffered, Peer: PeerRef{"peer", peer.String()}}
}

// TestOffersLeaveRoomToSend: however many offers wait, this side can still send.
func TestOffersLeaveRoomToSend(t *testing.T) {
	table := new(table)
	full := false
	for i := range 4 * maxActiveTransfers {
		peer := identity.DeviceID{byte(i / 16), byte(i % 16)}
		if _, _, err := table.add(receiving(peer, transfer.NewID()), kept{}); err != nil {
			full = true
			break
		}
	}
	if !full {
		t.Error("offers have no limit")
	}
	if _, _, err := table.add(Transfer{ID: transfer.NewID(), Direction: "send"}, kept{}); err != nil {
		t.Errorf("sending a file beside %d offers: %v", maxActiveTransfers, err)
	}
}

// TestOneDeviceIsServedSoMuch: the channels that one contact opens, whatever for, are few enough that others are served too.
func TestOneDeviceIsServedSoMuch(t *testing.T) {
	table := new(table)
	greedy, other := identity.DeviceID{1}, identity.DeviceID{2}
	n := 0
	for ; n < 10*maxServed && table.enter(greedy); n++ {
	}
	if n != maxServed {
		t.Errorf("%d channels of one device are served, want %d", n, maxServed)
	}
	if !table.enter(other) {
		t.Error("another device is not served")
	}
	table.leave(greedy)
	if !table.enter(greedy) {
		t.Error("a channel has ended, and none is served in its place")
	}
}

// TestAnOfferCannotTakeAnothersID: ids are the sender's to choose; with one that is here already a person could not say which is meant.
func TestAnOfferCannotTakeAnothersID(t *testing.T) {
	table := new(table)
	id := transfer.NewID()
	for i, want := range []bool{true, false} {
		_, _, err := table.add(receiving(identity.DeviceID{byte(i)}, id), kept{})
		if (err == nil) != want {
			t.Errorf("offer %d of the id: %v", i, err)
		}
	}
}

// TestOfferIsShownAsItWouldBeStored: the name in the inbox is what a person decides by, so it holds nothing that turns the terminal's writing around.
func TestOfferIsShownAsItWouldBeStored(t *testing.T) {
	const name = "holiday\u202egpj.exe"
	if got, want := shownName(name), transfer.SafeName(name); got != want {
		t.Errorf("shown as %q, want %q", got, want)
	}
}

// TestConnectionsDoNotFloodTheLog: a contact that connects all the time costs a line now and then, which says how many it stands for.
func TestConnectionsDoNotFloodTheLog(t *testing.T) {
	events := eventLog{}
	restless, other := identity.DeviceID{1}, identity.DeviceID{2}
	now := time.Unix(1<<30, 0)
	lines := 0
	for range 10 * eventBurst {
		if _, ok := events.take(restless, now); ok {
			lines++
		}
	}
	if lines != eventBurst {
		t.Errorf("%d lines at once, want %d", lines, eventBurst)
	}
	if _, ok := events.take(other, now); !ok {
		t.Error("another contact's event is not logged")
	}
	if skipped, ok := events.take(restless, now.Add(eventEvery)); !ok || skipped != 9*eventBurst {
		t.Errorf("later: logged %v, stands for %d more, want %d", ok, skipped, 9*eventBurst)
	}
}
