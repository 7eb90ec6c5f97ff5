package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// ownName is how the devices of one's own account are called, where no contact has that name: me:desk.
const ownName = "me"

// maxRevoked bounds the devices that are remembered as an account's former ones: 32 bytes each, the oldest go first.
const maxRevoked = 64

// parse reads the stored list. It was checked when it was stored, and may have expired since.
func (c *Contact) parse() (err error) {
	if c.List == nil {
		return nil
	}
	if c.list, err = identity.ParseDeviceList(c.List); err == nil && c.list.Account != c.Account {
		err = fmt.Errorf("the device list of %s is another account's", c.Name)
	}
	return err
}

// devices lists the contact's devices with what they are called.
func (c *Contact) devices() []PeerDevice {
	if c.list == nil {
		return []PeerDevice{{Name: c.Name, Device: c.Device}}
	}
	var all []PeerDevice
	for _, d := range c.list.Devices {
		p := PeerDevice{Name: c.Name, Device: d.ID}
		if len(c.list.Devices) > 1 || c.Name == ownName {
			p.Name += ":" + d.Name
		}
		all = append(all, p)
	}
	return all
}

// PeerDevice is one device that this one talks to.
type PeerDevice struct {
	Name   string
	Device identity.DeviceID
}

// has tells whether the device is one of the contact's.
func (c *Contact) has(id identity.DeviceID) bool {
	if c.list == nil {
		return c.Device == id && !id.IsZero()
	}
	_, ok := c.list.Find(id)
	return ok
}

// meant lists the devices that whoever named the contact means: the one, or all but this one.
func (c *Contact) meant(self identity.DeviceID) (ids []PeerDevice) {
	for _, d := range c.devices() {
		if (!c.one || d.Device == c.Device) && d.Device != self && !c.held(d.Device) {
			ids = append(ids, d)
		}
	}
	return ids
}

// named is the id by which the contact can be found again, whatever it is called then.
func (c *Contact) named() identity.DeviceID {
	if c.one {
		return c.Device
	}
	return c.party()
}

// party is who the contact is in a conversation: the account, or the single device.
func (c *Contact) party() identity.DeviceID {
	if c.Account.IsZero() {
		return c.Device
	}
	return c.Account
}

// ownLocked is the account of this device as a contact.
func (c *Contacts) ownLocked() Contact {
	me := c.own
	me.Name = ownName
	return me
}

// Own returns this device's account as a contact called "me"; false where it has none.
func (c *Contacts) Own() (Contact, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ownLocked(), c.own.list != nil
}

// each lists the devices of all contacts and of one's own account, without this one.
func (c *Contacts) each() []PeerDevice {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var all []PeerDevice
	for i := range c.list {
		all = append(all, c.list[i].devices()...)
	}
	if c.own.list != nil {
		me := c.ownLocked()
		all = append(all, slices.DeleteFunc(me.devices(), func(d PeerDevice) bool { return d.Device == c.self })...)
	}
	return all
}

// Devices returns the ids of all who are answered: contacts that are not blocked, own devices, guests.
func (c *Contacts) Devices() []identity.DeviceID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ids := make([]identity.DeviceID, 0, len(c.list))
	add := func(id identity.DeviceID) {
		if id != c.self && !c.revokedLocked(id) {
			ids = append(ids, id)
		}
	}
	for i := range c.list {
		if have := &c.list[i]; !have.Policy.Blocked {
			for _, d := range have.devices() {
				if !have.held(d.Device) {
					add(d.Device)
				}
			}
		}
	}
	if c.own.list != nil {
		for _, d := range c.own.list.Devices {
			add(d.ID)
		}
	}
	now := time.Now()
	for _, g := range c.guests {
		if now.Before(g.Expires) {
			ids = append(ids, g.Guest)
		}
	}
	slices.SortFunc(ids, identity.DeviceID.Compare)
	return slices.Compact(ids)
}

// Knows tells whether the device is answered: it is one of a contact's that is not blocked, one's own, or a guest.
func (c *Contacts) Knows(id identity.DeviceID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if _, ok := c.guestLocked(id); ok {
		return true
	}
	have, ok := c.byDeviceLocked(id)
	return ok && !have.Policy.Blocked && !have.held(id) && !c.revokedLocked(id)
}

// errListExpired is a device whose account's list no longer holds.
var errListExpired = errors.New("its account's device list has expired")

// Authorized says why the device may not use anything here now; nil when it may. A device whose account's list has expired may bring a newer one, and nothing else.
func (c *Contacts) Authorized(id identity.DeviceID) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	have, ok := c.byDeviceLocked(id)
	switch {
	case !ok || have.Policy.Blocked || have.held(id) || c.revokedLocked(id):
		return errors.New("no contact")
	case have.list != nil && have.list.CheckTime(time.Now()) != nil:
		return errListExpired
	}
	return nil
}

// Revoked tells whether the device was on a list of an account known here, and is not on the newest.
func (c *Contacts) Revoked(id identity.DeviceID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.revokedLocked(id)
}

func (c *Contacts) revokedLocked(id identity.DeviceID) bool {
	if slices.Contains(c.own.Revoked, id) {
		return true
	}
	return slices.ContainsFunc(c.list, func(have Contact) bool { return slices.Contains(have.Revoked, id) })
}

// NameOf returns what the device is called: bob, bob:desk where bob has several, or the short id of one that is nobody's.
func (c *Contacts) NameOf(id identity.DeviceID) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if have, ok := c.byDeviceLocked(id); ok {
		for _, d := range have.devices() {
			if d.Device == id {
				return d.Name
			}
		}
		return have.Name
	}
	if i := slices.IndexFunc(c.list, func(have Contact) bool { return have.Account == id }); i >= 0 {
		return c.list[i].Name
	}
	return id.Short()
}

func (c *Contacts) byDevice(id identity.DeviceID) (Contact, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byDeviceLocked(id)
}

func (c *Contacts) byDeviceLocked(id identity.DeviceID) (Contact, bool) {
	if c.own.list != nil && id != c.self {
		if me := c.ownLocked(); me.has(id) {
			return me, true
		}
	}
	if i := slices.IndexFunc(c.list, func(have Contact) bool { return have.has(id) }); i >= 0 {
		return c.list[i], true
	}
	return Contact{}, false
}

// findNameLocked finds NAME and NAME:DEVICE. A name that nobody has is no error, and no contact.
func (c *Contacts) findNameLocked(who string) (Contact, error) {
	name, device, one := strings.Cut(who, ":")
	have, ok := Contact{}, false
	if i := slices.IndexFunc(c.list, func(have Contact) bool { return have.Name == name }); i >= 0 {
		have, ok = c.list[i], true
	} else if name == ownName && c.own.list != nil {
		have, ok = c.ownLocked(), true
		have.Device = c.own.list.Devices[0].ID
	}
	if !ok {
		return Contact{}, nil
	}
	if !one {
		return have, nil
	}
	d, listed := have.list.Named(device)
	if !listed {
		e := cli.Errorf("E_PEER_UNKNOWN", "%s has no device %q", name, device)
		if have.list == nil {
			return Contact{}, e.Because(errors.New("it is a single device")).Hint("say %s", name)
		}
		return Contact{}, e.Hint("see `node contact show %s`", name)
	}
	have.Device, have.one = d.ID, true
	return have, nil
}

// swapChanged returns the channel that those have who wait for a device list.
func (c *Contacts) swapChanged() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.news
	c.news = make(chan struct{})
	if old == nil {
		old = make(chan struct{})
	}
	return old
}

// changed is closed when a device list is taken.
func (c *Contacts) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.news == nil {
		c.news = make(chan struct{})
	}
	return c.news
}

// partyOf is who a device is in a conversation: its account, or itself.
func (c *Contacts) partyOf(id identity.DeviceID) identity.DeviceID {
	if have, ok := c.byDevice(id); ok {
		return have.party()
	}
	return id
}

// versionsFor is what HELLO says to a device: the lists of the two accounts that meet, and of no other.
func (c *Contacts) versionsFor(id identity.DeviceID) (versions []framing.AccountVersion) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	have, ok := c.byDeviceLocked(id)
	if !ok {
		return nil
	}
	for _, l := range []*identity.DeviceList{c.own.list, have.list} {
		if l != nil && (len(versions) == 0 || versions[0].Account != l.Account) {
			versions = append(versions, framing.AccountVersion{Account: l.Account, Version: l.Version})
		}
	}
	return versions
}

// listsNewer returns the lists that the device should have and does not know.
func (c *Contacts) listsNewer(id identity.DeviceID, known []framing.AccountVersion) (lists [][]byte) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	have, ok := c.byDeviceLocked(id)
	if !ok {
		return nil
	}
	for _, mine := range []*Contact{&c.own, &have} {
		if mine.list == nil || mine.list.CheckTime(time.Now()) != nil || len(lists) > 0 && mine.Account == c.own.Account {
			continue
		}
		newer := !slices.ContainsFunc(known, func(v framing.AccountVersion) bool {
			return v.Account == mine.list.Account && v.Version >= mine.list.Version
		})
		if newer {
			lists = append(lists, mine.List)
		}
	}
	return lists
}

// errOwnRevoked says that this device is no longer one of its account's.
var errOwnRevoked = errors.New("the account no longer lists this device")

// adopt takes a device list that a device has brought. It returns the devices that are revoked by it.
func (c *Contacts) adopt(raw []byte, from identity.DeviceID) (l *identity.DeviceList, revoked []identity.DeviceID, err error) {
	if l, err = identity.ParseDeviceList(raw); err != nil {
		return nil, nil, err
	}
	if err := l.CheckTime(time.Now()); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own.list != nil && c.own.Account == l.Account {
		if err := l.Follows(c.own.list); err != nil {
			return nil, nil, err
		}
		if _, ok := l.Find(c.self); !ok {
			revoked = c.own.drop(&identity.DeviceList{})
			return l, revoked, errors.Join(errOwnRevoked, c.storeLocked(c.list, Contact{}, c.guests))
		}
		own := c.own
		revoked = own.take(l, raw)
		return l, revoked, c.storeLocked(c.reclaimLocked(l, c.list), own, c.guests)
	}
	i := slices.IndexFunc(c.list, func(have Contact) bool { return have.Account == l.Account })
	if i < 0 {
		_, listed := l.Find(from)
		i = slices.IndexFunc(c.list, func(have Contact) bool { return have.Account.IsZero() && have.Device == from })
		if i < 0 || !listed {
			return nil, nil, fmt.Errorf("daemon: %w", identity.ErrListOther)
		}
	}
	if err := l.Follows(c.list[i].list); err != nil {
		return nil, nil, err
	}
	list := slices.Clone(c.list)
	revoked = list[i].take(l, raw)
	return l, revoked, c.storeLocked(list, c.own, c.guests)
}

// take makes the list the contact's, and returns the devices that are no longer on it.
func (c *Contact) take(l *identity.DeviceList, raw []byte) []identity.DeviceID {
	gone := c.drop(l)
	c.Account, c.List, c.list = l.Account, raw, l
	c.Revoked = slices.DeleteFunc(slices.Clone(c.Revoked), func(id identity.DeviceID) bool { _, back := l.Find(id); return back })
	c.Revoked = append(c.Revoked, gone...)
	c.Revoked = c.Revoked[max(0, len(c.Revoked)-maxRevoked):]
	if _, ok := l.Find(c.Device); !ok {
		i := slices.IndexFunc(l.Devices, func(d identity.ListedDevice) bool { return !c.held(d.ID) })
		c.Device = l.Devices[max(i, 0)].ID
	}
	return gone
}

// drop returns the devices that are not on the other list.
func (c *Contact) drop(l *identity.DeviceList) (gone []identity.DeviceID) {
	if c.list != nil {
		for _, d := range c.list.Devices {
			if _, stays := l.Find(d.ID); !stays {
				gone = append(gone, d.ID)
			}
		}
	}
	return gone
}
