package daemon

import (
	"testing"
	"time"

	"traverse.internal/identity"
)

// Who has looked at a contact's devices is told of those that come later; and where new ones are held they are answered only when they are trusted.
func TestTrust(t *testing.T) {
	h := HomeAt(t.TempDir())
	c, err := LoadContacts(h)
	if err != nil {
		t.Fatal(err)
	}
	desk, phone, tablet, bob := newDevice(t), newDevice(t), newDevice(t), signer(t)
	if err := c.Add("bob", desk.ID()); err != nil {
		t.Fatal(err)
	}
	states := func() (out [3]string) {
		have, err := c.Find("bob")
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range []*identity.Device{desk, phone, tablet} {
			if out[i] = "-"; have.has(d.ID()) {
				out[i] = have.trustOf(d.ID())
			}
		}
		return out
	}
	step := func(what string, err error, want ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := states(); got != [3]string(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	list := func(version uint64, devices ...*identity.Device) error {
		_, _, err := c.adopt(signed(t, bob, version, time.Hour, devices...), desk.ID())
		return err
	}
	step("at first", nil, TrustFirstUse, "-", "-")
	if _, err := c.Trust("bob", []string{phone.ID().String()}); err == nil {
		t.Error("a device that is not bob's was trusted as his")
	}
	_, err = c.Trust("bob", []string{desk.ID().String()})
	step("looked at", err, TrustLookedAt, "-", "-")
	step("another one comes", list(1, desk, phone), TrustLookedAt, TrustNew, "-")
	if w := c.newDevices(); len(w) != 1 || !c.Knows(phone.ID()) {
		t.Errorf("warnings %v, known %v", w, c.Knows(phone.ID()))
	}
	_, err = c.Trust("bob:b", nil)
	step("it is looked at", err, TrustLookedAt, TrustLookedAt, "-")
	_, err = c.Set("bob", map[string]string{"new-devices": "hold"})
	step("new ones are held", err, TrustLookedAt, TrustLookedAt, "-")
	step("a third comes", list(2, desk, phone, tablet), TrustLookedAt, TrustLookedAt, TrustHeld)
	if c.Knows(tablet.ID()) || c.Authorized(tablet.ID()) == nil || !c.Knows(phone.ID()) {
		t.Error("a held device is answered, or one that is not is not")
	}
	if _, err := c.Resolve("bob:c"); err == nil {
		t.Error("a held device is talked to")
	}
	if have, err := c.Resolve("bob"); err != nil || len(have.meant(identity.DeviceID{})) != 2 {
		t.Errorf("bob is %v, %v", have.meant(identity.DeviceID{}), err)
	}
	// All that were trusted go: nobody is left.
	step("only the held one stays", list(3, tablet), "-", "-", TrustHeld)
	if _, err := c.Resolve("bob"); err == nil {
		t.Error("bob is talked to although all his devices are held")
	}
	if again, err := LoadContacts(h); err != nil || again.Knows(tablet.ID()) {
		t.Errorf("after a restart it is known: %v", err)
	}
	_, err = c.Trust("bob", nil)
	step("it is trusted", err, "-", "-", TrustLookedAt)
	if _, err := c.Resolve("bob"); err != nil || !c.Knows(tablet.ID()) {
		t.Errorf("bob cannot be reached: %v", err)
	}
}

// Sightings survive a restart, without devices that nobody knows; a damaged file is none.
func TestSightings(t *testing.T) {
	h := HomeAt(t.TempDir())
	s := loadSeen(h)
	bob, guest := newID(t), newID(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	s.note(bob, at)
	s.note(guest, at)
	if err := s.store(func(id identity.DeviceID) bool { return id == bob }); err != nil {
		t.Fatal(err)
	}
	again := loadSeen(h)
	if got := again.last(bob); got == nil || !got.Equal(at.Truncate(time.Second)) || again.last(guest) != nil {
		t.Errorf("bob was seen %v, the guest %v", got, again.last(guest))
	}
	if err := replaceFile(s.path, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if got := loadSeen(h); got.last(bob) != nil || got.at == nil {
		t.Error("a damaged file was read")
	}
}
