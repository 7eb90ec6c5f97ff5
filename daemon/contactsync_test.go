package daemon

import (
	"errors"
	"slices"
	"testing"
	"time"

	"traverse.internal/identity"
)

// party is an account's device with its contacts, for tests without a network.
type party struct {
	*Contacts
	device *identity.Device
	home   Home
}

// accountOf makes an account of n devices.
func accountOf(t *testing.T, n int) (all []*party, key *identity.Account) {
	t.Helper()
	key = signer(t)
	var devices []*identity.Device
	for range n {
		devices = append(devices, newDevice(t))
	}
	for _, dev := range devices {
		h := HomeAt(t.TempDir())
		c, err := LoadContacts(h)
		if err != nil {
			t.Fatal(err)
		}
		c.adoptChanges(dev.ID())
		if _, err := c.setOwn(signed(t, key, 1, identity.MaxListLife, devices...)); err != nil {
			t.Fatal(err)
		}
		all = append(all, &party{c, dev, h})
	}
	return all, key
}

// meet lets two devices make their contacts equal, as the channel does.
func meet(t *testing.T, a, b *party) error {
	t.Helper()
	mine := a.shared()
	var have []contactVersion
	for _, m := range mine {
		have = append(have, contactVersion{m.ID, m.Change})
	}
	answer := newerThan(b.shared(), have)
	_, err := a.merge(answer.Tell)
	mine = slices.DeleteFunc(mine, func(m sharedContact) bool { return !slices.Contains(answer.Want, m.ID) })
	_, err2 := b.merge(mine)
	return errors.Join(err, err2)
}

func mustMeet(t *testing.T, a, b *party) {
	t.Helper()
	if err := meet(t, a, b); err != nil {
		t.Fatal(err)
	}
}

func (p *party) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is changed at one device is so at all.
func TestContactsAreTheSameOnAllDevices(t *testing.T) {
	all, _ := accountOf(t, 3)
	desk, phone, tablet := all[0], all[1], all[2]
	bob, carol := newDevice(t), newDevice(t)
	desk.must(t, desk.Add("bob", bob.ID()))
	phone.must(t, phone.Add("carol", carol.ID()))
	mustMeet(t, desk, phone)
	mustMeet(t, phone, tablet)
	for i, p := range all {
		if i != 0 && !p.Knows(bob.ID()) || !p.Knows(carol.ID()) {
			t.Errorf("device %d knows %d contacts", i, len(p.List()))
		}
	}

	_, err := tablet.Set("bob", map[string]string{"blocked": "on", "auto-accept": "5MiB", "download-dir": "/tablet", "listen": "on"})
	tablet.must(t, err)
	_, err = desk.Rename("carol", "caroline")
	desk.must(t, err)
	mustMeet(t, tablet, phone)
	mustMeet(t, phone, desk)
	mustMeet(t, phone, tablet)
	for i, p := range all {
		have, err := p.Find("bob")
		if err != nil || !have.Policy.Blocked || have.Policy.AutoAccept != 5<<20 || p.Knows(bob.ID()) {
			t.Errorf("device %d: bob is %+v, %v", i, have.Policy, err)
		}
		if own := p == tablet; (have.Policy.Downloads != "") != own || have.Policy.Listen != own {
			t.Errorf("device %d: a folder or a port travelled: %+v", i, have.Policy)
		}
		if got := p.NameOf(carol.ID()); got != "caroline" {
			t.Errorf("device %d: carol is %q", i, got)
		}
	}

	// Removed at one, and told by a way that meets who still has it; added again, it is back.
	_, err = phone.Remove("bob")
	phone.must(t, err)
	mustMeet(t, desk, tablet)
	mustMeet(t, phone, tablet)
	mustMeet(t, tablet, desk)
	for i, p := range all {
		if _, err := p.Find("bob"); err == nil {
			t.Errorf("device %d still has bob", i)
		}
	}
	desk.must(t, desk.Add("robert", bob.ID()))
	mustMeet(t, desk, phone)
	mustMeet(t, phone, tablet)
	for i, p := range all {
		if got := p.NameOf(bob.ID()); got != "robert" || !p.Knows(bob.ID()) {
			t.Errorf("device %d: bob is %q", i, got)
		}
		again, err := LoadContacts(p.home)
		if err != nil || again.NameOf(bob.ID()) != "robert" || len(again.gone) != 0 {
			t.Errorf("device %d after a restart: %q, %d gone, %v", i, again.NameOf(bob.ID()), len(again.gone), err)
		}
	}
	// Nothing is told again that everybody knows.
	for _, pair := range [][2]*party{{desk, phone}, {phone, tablet}, {tablet, desk}} {
		before := pair[0].edited() + pair[1].edited()
		mustMeet(t, pair[0], pair[1])
		if after := pair[0].edited() + pair[1].edited(); after != before {
			t.Error("two devices that agree changed something")
		}
	}
}

// Two devices that change the same contact apart agree on the later change, and two contacts of one name keep apart.
func TestContactsChangedApart(t *testing.T) {
	all, _ := accountOf(t, 2)
	desk, phone := all[0], all[1]
	bob, other := newDevice(t), newDevice(t)
	desk.must(t, desk.Add("bob", bob.ID()))
	mustMeet(t, desk, phone)
	_, err := desk.Rename("bob", "first")
	desk.must(t, err)
	for _, p := range all { // the clocks of tests stand still: the second change comes a second later
		p.mu.Lock()
		for i := range p.list {
			p.list[i].Change.Version -= 1000
		}
		p.mu.Unlock()
	}
	_, err = phone.Rename("bob", "second")
	phone.must(t, err)
	mustMeet(t, desk, phone)
	if a, b := desk.NameOf(bob.ID()), phone.NameOf(bob.ID()); a != "second" || b != "second" {
		t.Errorf("bob is %q and %q", a, b)
	}

	desk.must(t, desk.Add("twin", newDevice(t).ID()))
	phone.must(t, phone.Add("twin", other.ID()))
	mustMeet(t, desk, phone)
	for _, p := range all {
		names := map[string]bool{}
		for _, c := range p.List() {
			names[c.Name] = true
		}
		if len(names) != 3 {
			t.Errorf("the names are %v", names)
		}
	}
}

// A contact that is a device here and an account there is one contact, and is the account afterwards.
func TestContactThatOneDeviceKnowsAsAccount(t *testing.T) {
	all, _ := accountOf(t, 2)
	desk, phone := all[0], all[1]
	one, two, bob := newDevice(t), newDevice(t), signer(t)
	desk.must(t, desk.Add("bob", one.ID()))
	phone.must(t, phone.Add("bob", one.ID()))
	_, _, err := desk.adopt(signed(t, bob, 3, time.Hour, one, two), one.ID())
	desk.must(t, err)
	mustMeet(t, phone, desk)
	mustMeet(t, phone, desk)
	if len(phone.List()) != 1 || !phone.Knows(two.ID()) {
		t.Errorf("%d contacts; the second device is known: %v", len(phone.List()), phone.Knows(two.ID()))
	}
	if left := newerThan(desk.shared(), []contactVersion{{phone.shared()[0].ID, phone.shared()[0].Change}}); len(left.Tell)+len(left.Want) != 0 {
		t.Errorf("they still differ: %+v", left)
	}
}

// What another device says is taken as far as it may say it.
func TestWhatIsNotTakenFromAnotherDevice(t *testing.T) {
	all, key := accountOf(t, 3)
	desk, phone, tablet := all[0], all[1], all[2]
	bob := newDevice(t)
	now := uint64(time.Now().UnixMilli())
	good := sharedContact{ID: bob.ID(), Device: bob.ID(), Name: "bob", Change: change{now, phone.device.ID()}}
	for _, c := range []struct {
		name   string
		change func(*sharedContact)
		want   error // nil: it is passed over
	}{
		{"made by a stranger", func(s *sharedContact) { s.Change.By = bob.ID() }, errChangeBy},
		{"made by nobody", func(s *sharedContact) { s.Change.By = identity.DeviceID{} }, errChangeBy},
		{"made tomorrow", func(s *sharedContact) { s.Change.Version += 86_400_000 }, errChangeTime},
		{"a list of others", func(s *sharedContact) { s.List = signed(t, signer(t), 1, time.Hour, newDevice(t)) }, identity.ErrListOther},
		{"a list that is none", func(s *sharedContact) { s.List = []byte("x") }, identity.ErrListFormat},
		{"this device itself", func(s *sharedContact) { s.ID, s.Device = desk.device.ID(), desk.device.ID() }, nil},
		{"one of the account's", func(s *sharedContact) { s.ID, s.Device = tablet.device.ID(), tablet.device.ID() }, nil},
		{"the account", func(s *sharedContact) { s.ID = key.ID() }, nil},
	} {
		s := good
		c.change(&s)
		news, err := desk.merge([]sharedContact{s})
		if len(news) != 0 || c.want != nil && !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %d taken, %v, want %v", c.name, len(news), err, c.want)
		}
	}
	if news, err := desk.merge([]sharedContact{{ID: good.ID, Device: good.Device, Name: "a b\n", Change: good.Change}, good}); err == nil || len(news) != 1 {
		t.Errorf("a bad name beside a good one: %d taken, %v", len(news), err)
	}
	if len(desk.List()) != 1 {
		t.Fatalf("%d contacts", len(desk.List()))
	}

	// The phone is revoked. What it says then is not taken, by whichever way it comes; what it had said before is the desk's word from then on.
	desk.must(t, phone.Add("mallory", newDevice(t).ID()))
	list := signed(t, key, 2, identity.MaxListLife, desk.device, tablet.device)
	_, revoked, err := desk.adopt(list, tablet.device.ID())
	if err != nil || len(revoked) != 1 {
		t.Fatal(err, revoked)
	}
	if desk.isOwn(phone.device.ID()) {
		t.Error("a revoked device may still tell of contacts")
	}
	mustMeet(t, phone, tablet) // which does not know yet
	if err := meet(t, tablet, desk); !errors.Is(err, errChangeBy) {
		t.Errorf("by a device that does not know yet: %v", err)
	}
	if have := desk.List(); len(have) != 1 || have[0].Change.By != desk.device.ID() {
		t.Errorf("the desk has %+v", have)
	}
}

func TestRemovedContactsAreBounded(t *testing.T) {
	all, _ := accountOf(t, 1)
	c := all[0]
	list := make([]goneContact, maxGone+5)
	for i := range list {
		list[i] = goneContact{ID: identity.DeviceID{1: byte(i), 2: byte(i >> 8)}, Change: change{Version: uint64(len(list) - i)}}
	}
	c.mu.Lock()
	err := c.editLocked(c.list, list)
	c.mu.Unlock()
	if err != nil || len(c.gone) != maxGone || c.gone[0].Change.Version != 6 {
		t.Errorf("%d remembered, the oldest of version %d, %v; want %d and 6", len(c.gone), c.gone[0].Change.Version, err, maxGone)
	}
}
