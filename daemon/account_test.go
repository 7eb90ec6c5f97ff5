package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/identity"
)

// signer makes an account with a key of its own in a folder of its own.
func signer(t *testing.T) *identity.Account {
	t.Helper()
	a, err := identity.CreateAccount(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newDevice(t *testing.T) *identity.Device {
	t.Helper()
	d, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func signed(t *testing.T, a *identity.Account, version uint64, life time.Duration, devices ...*identity.Device) []byte {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	l := &identity.DeviceList{Version: version, Signed: now.Add(life - identity.MaxListLife), Expires: now.Add(life)}
	for i, d := range devices {
		l.Devices = append(l.Devices, identity.ListedDevice{ID: d.ID(), Name: string(rune('a' + i)), Consent: d.Consent(a.ID())})
	}
	raw, err := a.Sign(nil, l)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A contact that was a device becomes an account with the list that the device brings; from then on the newest list says who it is.
func TestContactBecomesAccount(t *testing.T) {
	h := HomeAt(t.TempDir())
	c, err := LoadContacts(h)
	if err != nil {
		t.Fatal(err)
	}
	desk, phone, tablet, stranger := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	bob, other := signer(t), signer(t)
	if err := c.Add("bob", desk.ID()); err != nil {
		t.Fatal(err)
	}
	week := identity.MaxListLife
	for _, refused := range []struct {
		name string
		raw  []byte
		from *identity.Device
		want error
	}{
		{"a stranger's", signed(t, other, 1, week, stranger), stranger, identity.ErrListOther},
		{"one that the device is not on", signed(t, bob, 1, week, phone), desk, identity.ErrListOther},
		{"one that has expired", signed(t, bob, 1, -time.Second, desk), desk, identity.ErrListExpired},
		{"something else", []byte("x"), desk, identity.ErrListFormat},
	} {
		if _, _, err := c.adopt(refused.raw, refused.from.ID()); !errors.Is(err, refused.want) {
			t.Errorf("%s: %v, want %v", refused.name, err, refused.want)
		}
	}
	two := signed(t, bob, 2, week, desk, phone)
	if _, _, err := c.adopt(two, desk.ID()); err != nil {
		t.Fatal(err)
	}
	if got := c.NameOf(phone.ID()); got != "bob:b" || !c.Knows(phone.ID()) || c.Authorized(phone.ID()) != nil {
		t.Errorf("the second device is called %q, known %v, authorized %v", got, c.Knows(phone.ID()), c.Authorized(phone.ID()))
	}
	if _, _, err := c.adopt(two, desk.ID()); !errors.Is(err, identity.ErrListOlder) {
		t.Errorf("the same list again: %v", err)
	}
	if _, _, err := c.adopt(signed(t, other, 9, week, desk, stranger), desk.ID()); !errors.Is(err, identity.ErrListOther) {
		t.Errorf("another account from the same device: %v", err)
	}
	_, revoked, err := c.adopt(signed(t, bob, 3, week, phone, tablet), phone.ID())
	if err != nil || len(revoked) != 1 || revoked[0] != desk.ID() {
		t.Fatalf("revoked %v, %v", revoked, err)
	}
	if c.Knows(desk.ID()) || !c.Revoked(desk.ID()) || c.Revoked(tablet.ID()) {
		t.Error("the device that was taken off is still known")
	}
	if _, _, err := c.adopt(two, phone.ID()); !errors.Is(err, identity.ErrListOlder) {
		t.Errorf("the old list again: %v", err)
	}

	// All of it survives.
	again, err := LoadContacts(h)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Knows(tablet.ID()) || again.Knows(desk.ID()) || !again.Revoked(desk.ID()) {
		t.Error("what was known is not known after a restart")
	}
	one, err := again.Resolve("bob:b")
	if err != nil || one.Device != tablet.ID() || len(one.meant(identity.DeviceID{})) != 1 {
		t.Errorf("bob:b is %+v, %v", one, err)
	}
	if all, err := again.Resolve("bob"); err != nil || len(all.meant(identity.DeviceID{})) != 2 {
		t.Errorf("bob is %+v, %v", all, err)
	}
}

// A list that has expired authorizes nobody, but whoever is on it may bring the next.
func TestExpiredListMayBeReplaced(t *testing.T) {
	c, err := LoadContacts(HomeAt(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	desk, bob := newDevice(t), signer(t)
	if err := c.Add("bob", desk.ID()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.adopt(signed(t, bob, 1, time.Hour, desk), desk.ID()); err != nil {
		t.Fatal(err)
	}
	c.list[0].list.Expires = time.Now().Add(-time.Second)
	if !c.Knows(desk.ID()) || !errors.Is(c.Authorized(desk.ID()), errListExpired) {
		t.Errorf("known %v, authorized: %v", c.Knows(desk.ID()), c.Authorized(desk.ID()))
	}
	if lists := c.listsNewer(desk.ID(), nil); len(lists) != 0 {
		t.Error("an expired list is passed on")
	}
	if _, _, err := c.adopt(signed(t, bob, 2, time.Hour, desk), desk.ID()); err != nil || c.Authorized(desk.ID()) != nil {
		t.Errorf("the next list: %v, authorized: %v", err, c.Authorized(desk.ID()))
	}
}

// HELLO tells of the accounts that meet, and of no other; a device on its own account's list that leaves it off is out.
func TestOwnAccount(t *testing.T) {
	c, err := LoadContacts(HomeAt(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	self, sibling, desk := newDevice(t), newDevice(t), newDevice(t)
	c.self = self.ID()
	mine, bob, carol := signer(t), signer(t), signer(t)
	if _, err := c.setOwn(signed(t, mine, 1, time.Hour, sibling)); err == nil {
		t.Error("a list without this device is its own")
	}
	if _, err := c.setOwn(signed(t, mine, 4, time.Hour, sibling, self)); err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]*identity.Account{"bob": bob, "carol": carol} {
		d := desk
		if name == "carol" {
			d = newDevice(t)
		}
		if err := c.Add(name, d.ID()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.adopt(signed(t, a, 7, time.Hour, d), d.ID()); err != nil {
			t.Fatal(err)
		}
	}
	versions := c.versionsFor(desk.ID())
	want := []framing.AccountVersion{{Account: mine.ID(), Version: 4}, {Account: bob.ID(), Version: 7}}
	if len(versions) != 2 || versions[0] != want[0] || versions[1] != want[1] {
		t.Errorf("HELLO to bob has %+v", versions)
	}
	if v := c.versionsFor(newDevice(t).ID()); v != nil {
		t.Errorf("HELLO to a stranger has %+v", v)
	}
	if lists := c.listsNewer(desk.ID(), want[:1]); len(lists) != 1 {
		t.Errorf("%d lists for one who knows the first", len(lists))
	}
	if c.NameOf(sibling.ID()) != "me:a" || !c.Knows(sibling.ID()) || c.Knows(self.ID()) {
		t.Errorf("the other device is %q", c.NameOf(sibling.ID()))
	}
	_, revoked, err := c.adopt(signed(t, mine, 5, time.Hour, sibling), sibling.ID())
	if !errors.Is(err, errOwnRevoked) || len(revoked) != 2 || c.Knows(sibling.ID()) {
		t.Errorf("off the list: %v, revoked %d", err, len(revoked))
	}
}

// The file of before accounts is read as it was.
func TestContactsOfSchema1(t *testing.T) {
	h := HomeAt(t.TempDir())
	id := newDevice(t).ID()
	old := `{"schema":1,"contacts":[{"name":"bob","device":"` + id.String() + `","policy":{"auto_accept_max":5}}]}`
	if err := os.WriteFile(filepath.Join(h.State, "contacts.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadContacts(h)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := c.Resolve("bob"); err != nil || have.Device != id || have.Policy.AutoAccept != 5 || !c.Knows(id) {
		t.Errorf("%+v, %v", have, err)
	}
	if err := c.Add("carol", newDevice(t).ID()); err != nil {
		t.Fatal(err)
	}
	if again, err := LoadContacts(h); err != nil || len(again.List()) != 2 {
		t.Errorf("after a change: %v", err)
	}
}
