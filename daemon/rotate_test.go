package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"

	"traverse.internal/identity"
)

// A signer's new key is known to all before it takes the old one's place; then they reach the device by it, under its name, and the old key is refused.
func TestRotate(t *testing.T) {
	a := startNode(t, "desk", nil, nil)
	b := startNode(t, "phone", a, nil)
	c := startNode(t, "carol", a, nil)
	join(t, a, c, false)
	join(t, a, b, true)
	until(t, "carol knows the account", func() bool { have, err := c.contacts.Find("desk"); return err == nil && have.list != nil })
	if _, err := b.Rotate(t.Context(), RotateRequest{}); err == nil {
		t.Error("a device that does not sign renewed its key in the account")
	}

	// Who is away keeps the old key in use.
	if err := a.contacts.Add("dave", newID(t)); err != nil {
		t.Fatal(err)
	}
	old := a.self
	first, err := a.Rotate(t.Context(), RotateRequest{Wait: labPatience})
	if err != nil || first.State != RotationWaiting || len(first.Waiting) != 1 || first.Waiting[0].Name != "dave" || first.Told != 2 {
		t.Fatalf("with one away: %+v, %v", first, err)
	}
	if have, err := c.contacts.Find("desk"); err != nil || !have.has(old) {
		t.Errorf("the old key is gone already: %v", err)
	}
	next, err := identity.ParseDeviceID(first.To)
	if err != nil || !c.contacts.Knows(next) {
		t.Fatalf("carol does not know the next key: %v", err)
	}
	if _, err := a.contacts.Remove("dave"); err != nil {
		t.Fatal(err)
	}
	second, err := a.Rotate(t.Context(), RotateRequest{})
	if err != nil || second.State != RotationSwitched || second.To != first.To {
		t.Fatalf("with all there: %+v, %v", second, err)
	}
	h := a.cfg.Home
	a.ended(t, ErrAgain)
	again := startHome(t, h, "desk", b, nil)
	if again.self != next {
		t.Fatalf("the node is %s, want %s", again.self.Short(), next.Short())
	}
	for _, n := range []*labNode{b, c} {
		until(t, n.cfg.Name+" refuses the old key", func() bool { return n.contacts.Revoked(old) && !n.contacts.Knows(old) && n.contacts.Knows(next) })
	}
	if dev, ok := again.contacts.own.list.Named("desk"); !ok || dev.ID != next {
		t.Errorf("the new key is not called as the old one was: %+v", again.contacts.own.list.Devices)
	}
	if _, err := c.client.Ping(t.Context(), PingRequest{Peer: "desk:desk", Size: 64}); err != nil {
		t.Errorf("carol does not reach the new key: %v", err)
	}
}

// A crash between the list and the key is mended at the next start.
func TestRotationAfterACrash(t *testing.T) {
	h := HomeAt(t.TempDir())
	if _, err := Init(h, "desk"); err != nil {
		t.Fatal(err)
	}
	old, err := identity.Load(h.Identity)
	if err != nil {
		t.Fatal(err)
	}
	next, err := identity.CreateNext(h.Identity)
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadContacts(h)
	if err != nil {
		t.Fatal(err)
	}
	c.self = old.ID()
	mine := signer(t)
	if _, err := c.setOwn(signed(t, mine, 1, identity.MaxListLife, old, next)); err != nil {
		t.Fatal(err)
	}
	if err := c.Add("bob", newID(t)); err != nil {
		t.Fatal(err)
	}
	if got, err := settleRotation(h, old, c); err != nil || got.ID() != old.ID() {
		t.Errorf("while both are listed the device is %v, %v", got.ID().Short(), err)
	}
	if err := c.handOver(signed(t, mine, 2, identity.MaxListLife, next), next.ID()); err != nil {
		t.Fatal(err)
	}
	if c.list[0].Change.By != next.ID() || c.list[0].Change.Version == 0 {
		t.Errorf("a change that was made here is %+v", c.list[0].Change)
	}
	if got, err := settleRotation(h, old, c); err != nil || got.ID() != next.ID() {
		t.Fatalf("after the list the device is %v, %v", got, err)
	}
	if have, err := identity.Load(h.Identity); err != nil || have.ID() != next.ID() {
		t.Errorf("the key was not replaced: %v", err)
	}
}

// A linked device leaves by the one that signs; that one leaves only when told that nobody signs after it.
func TestLeave(t *testing.T) {
	a := startNode(t, "desk", nil, nil)
	b := startNode(t, "phone", a, nil)
	c := startNode(t, "tablet", a, nil)
	if _, err := a.Leave(t.Context(), LeaveRequest{}); err == nil {
		t.Error("a device without an account left one")
	}
	join(t, a, b, true)
	join(t, a, c, true)
	left, err := b.Leave(t.Context(), LeaveRequest{})
	if err != nil || left.Listed {
		t.Fatalf("%+v, %v", left, err)
	}
	if _, belongs := b.contacts.Own(); belongs {
		t.Error("it belongs to the account still")
	}
	for _, n := range []*labNode{a, c} {
		until(t, n.cfg.Name+" has the list without it", func() bool {
			own, _ := n.contacts.Own()
			_, listed := own.list.Find(b.self)
			return !listed && n.contacts.Revoked(b.self)
		})
	}
	if _, err := a.Leave(t.Context(), LeaveRequest{}); err == nil {
		t.Error("the signer left without a word")
	}
	gone, err := a.Leave(t.Context(), LeaveRequest{Anyway: true})
	if err != nil || gone.Told != 1 || gone.Ends == nil {
		t.Fatalf("%+v, %v", gone, err)
	}
	self := a.self
	a.ended(t, ErrAgain)
	if _, err := identity.LoadAccount(a.cfg.Home.Identity); !errors.Is(err, identity.ErrMissing) {
		t.Errorf("the account's key is here still: %v", err)
	}
	own, _ := c.contacts.Own()
	if _, listed := own.list.Find(self); listed || !slices.ContainsFunc(own.list.Devices, func(d identity.ListedDevice) bool { return d.ID == c.self }) {
		t.Errorf("the other device's list has %+v", own.list.Devices)
	}

	// With nobody who signs it says so, and leaves only when told.
	short, cancel := context.WithTimeout(t.Context(), labPatience)
	defer cancel()
	if _, err := c.Leave(short, LeaveRequest{}); err == nil {
		t.Error("it left although nobody could be told")
	}
	if left, err := c.Leave(short, LeaveRequest{Anyway: true}); err != nil || !left.Listed {
		t.Errorf("%+v, %v", left, err)
	}
}

// A device that nobody signs for gets a new key, and its contacts stay.
func TestRotateAlone(t *testing.T) {
	h := HomeAt(t.TempDir())
	made, err := Init(h, "desk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AddContact(t.Context(), h, "bob", newID(t).String()); err != nil {
		t.Fatal(err)
	}
	o, err := RotateIdentity(h)
	if err != nil || o.From != made.DeviceID || o.To == o.From || len(o.Waiting) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	if id, err := Identity(h); err != nil || id.DeviceID != o.To {
		t.Errorf("the id is %v, %v", id.DeviceID, err)
	}
	if list, err := ListContacts(h); err != nil || len(list.Contacts) != 1 {
		t.Errorf("the contacts are %+v, %v", list, err)
	}
}
