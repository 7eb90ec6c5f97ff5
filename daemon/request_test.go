package daemon

import (
	"encoding/json"
	"strings"
	"testing"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// The sender of a transfer to several devices sees the most advanced of them, and an error only where all have one.
func TestOptimisticView(t *testing.T) {
	failed := cli.Errorf("E_DECLINED", "declined")
	view := func(states ...State) Transfer {
		var all []Transfer
		for i, s := range states {
			v := Transfer{ID: "t-" + string(rune('a'+i)), Group: "t-g", State: s, Peer: PeerRef{Name: "bob:" + string(rune('a'+i))}}
			if s == StateDeclined || s == StateFailed || s == StateCancelled {
				v.Error = failed
			}
			all = append(all, v)
		}
		return optimistic(all, (*Daemon)(nil).contactName)
	}
	for _, c := range []struct {
		states []State
		want   State
		failed bool
	}{
		{[]State{StateDone, StateDeclined, StateQueued}, StateDone, false},
		{[]State{StateDeclined, StateSending, StateQueued}, StateSending, false},
		{[]State{StateOffered, StateConnecting, StateFailed}, StateOffered, false},
		{[]State{StateDeclined, StateQueued}, StateQueued, false},
		{[]State{StateVerifying, StateSending}, StateVerifying, false},
		{[]State{StateDeclined, StateDeclined}, StateDeclined, true},
		{[]State{StateCancelled, StateFailed, StateDeclined}, StateDeclined, true},
	} {
		got := view(c.states...)
		if got.State != c.want || (got.Error != nil) != c.failed || len(got.Devices) != len(c.states) || got.ID != "t-g" || got.Peer.Name != "bob" {
			t.Errorf("%v: %+v, want %s, failed %v", c.states, got, c.want, c.failed)
		}
		for i, s := range c.states {
			if got.Devices[i].State != s {
				t.Errorf("%v: device %d is shown as %s", c.states, i, got.Devices[i].State)
			}
		}
	}
}

// A conversation has one name, whichever of the two says it.
func TestConversation(t *testing.T) {
	a, b := newDevice(t).ID(), newDevice(t).ID()
	if conversationOf(a, b) != conversationOf(b, a) || conversationOf(a, b) == conversationOf(a, a) || !isDigest(conversationOf(a, b)) {
		t.Error("conversations have no names of their own")
	}
}

// A file of a transfer is for the devices of the two parties, and for nobody else.
func TestMembers(t *testing.T) {
	c, err := LoadContacts(HomeAt(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	desk, phone, fresh, carol, sibling, self := newDevice(t), newDevice(t), newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	c.self = self.ID()
	bob, mine := signer(t), signer(t)
	for name, d := range map[string]identity.DeviceID{"bob": desk.ID(), "carol": carol.ID()} {
		if err := c.Add(name, d); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.adopt(signed(t, bob, 1, identity.MaxListLife, desk, phone), desk.ID()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.adopt(signed(t, bob, 2, identity.MaxListLife, phone, fresh), phone.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.setOwn(signed(t, mine, 1, identity.MaxListLife, self, sibling)); err != nil {
		t.Fatal(err)
	}
	toDesk := &Transfer{Peer: PeerRef{Device: desk.ID().String()}} // which is revoked since
	for _, who := range []struct {
		name string
		d    *identity.Device
		want bool
	}{{"phone", phone, true}, {"fresh", fresh, true}, {"sibling", sibling, true}, {"carol", carol, false}, {"stranger", newDevice(t), false}, {"desk", desk, false}} {
		if got := c.member(who.d.ID(), toDesk); got != who.want {
			t.Errorf("%s is a member: %v", who.name, got)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	device, err := identity.New()
	if err != nil {
		f.Fatal(err)
	}
	id := device.ID()
	good, _ := json.Marshal(dataRequest{Type: requestType, Interaction: transfer.NewID(), DeviceID: id.String(), Transfer: transfer.NewID()})
	f.Add(string(good))
	f.Add(strings.Replace(string(good), `"interaction"`, `"sha3"`, 1))
	f.Add(`{"type":"` + requestType + `","sha3":"` + strings.Repeat("0f", 32) + `"}`)
	f.Fuzz(func(t *testing.T, raw string) {
		raw = strings.ReplaceAll(raw, "DEVICE", id.String())
		req, err := parseRequest([]byte(raw), id)
		if err != nil {
			return
		}
		again, _ := json.Marshal(req)
		back, err := parseRequest(again, id)
		if err != nil || back != req {
			t.Errorf("%q was read as %+v, and again as %+v, %v", raw, req, back, err)
		}
	})
}

func FuzzJoinLines(f *testing.F) {
	f.Add(`{"device":"","name":"x","proof":"AA=="}` + "\n")
	f.Add("{")
	f.Fuzz(func(t *testing.T, raw string) {
		var hello joinHello
		if newLines(struct {
			*strings.Reader
			discard
		}{strings.NewReader(raw), discard{}}, maxJoinLine).read(&hello) != nil {
			return
		}
		// Whatever it says, it proves nothing.
		if identity.CheckJoin(hello.Proof, identity.DeviceID{1}, identity.DeviceID{2}, hello.Device) {
			t.Errorf("%q is a proof", raw)
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
