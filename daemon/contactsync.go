package daemon

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"traverse.internal/identity"
)

// An account's contacts are the same on all its devices: docs/protocol/account.md 6. This file is the state and its rules.

// change says which of two states of a contact is the newer one: the greater version, and where both have the same, the greater device.
type change struct {
	Version uint64            `json:"version"`     // milliseconds since 1970 when it was made, or one more than that of the state before; 0: never
	By      identity.DeviceID `json:"by,omitzero"` // the device at which it was made; zero: this one, while no daemon ran
}

func (c change) compare(d change) int {
	return cmp.Or(cmp.Compare(c.Version, d.Version), c.By.Compare(d.By))
}

// changeSkew is how far ahead of this device's clock a change may be: one from a wrong clock would outdo all others for as long.
const changeSkew = 10 * time.Minute

// maxGone bounds the removed contacts that are remembered, 150 bytes each; the oldest go first. A device that was away for longer brings theirs back.
const maxGone = maxContacts

// goneContact is one that was removed.
type goneContact struct {
	ID     identity.DeviceID `json:"id"`     // of the account, or of the single device
	Device identity.DeviceID `json:"device"` // by which it is found where it is a single device still
	Change change            `json:"change"`
}

// nextLocked is the change that is made now, after another.
func (c *Contacts) nextLocked(last change) change {
	return change{Version: max(uint64(time.Now().UnixMilli()), last.Version+1), By: c.self}
}

// editLocked stores what somebody has changed.
func (c *Contacts) editLocked(list []Contact, gone []goneContact) error {
	slices.SortStableFunc(gone, func(a, b goneContact) int { return cmp.Compare(a.Change.Version, b.Change.Version) })
	if err := c.storeAllLocked(list, c.own, c.guests, gone[max(0, len(gone)-maxGone):]); err != nil {
		return err
	}
	c.edits++
	return nil
}

// backLocked takes a contact off those that were removed, and says what its last change was.
func (c *Contacts) backLocked(have *Contact) (gone []goneContact, last change) {
	gone = slices.DeleteFunc(slices.Clone(c.gone), func(g goneContact) bool {
		if !have.is(g.ID, g.Device) {
			return false
		}
		if g.Change.compare(last) > 0 {
			last = g.Change
		}
		return true
	})
	return gone, last
}

// is tells whether the contact is who another device knows as this account or device.
func (c *Contact) is(id, device identity.DeviceID) bool {
	return c.party() == id || c.has(id) || c.has(device)
}

// adoptChanges says of the changes that were made while no daemon ran, and before there were changes, that they are this device's.
func (c *Contacts) adoptChanges(self identity.DeviceID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = self
	own := func(ch *change) {
		if ch.By.IsZero() {
			ch.By, ch.Version = self, max(ch.Version, 1)
		}
	}
	for i := range c.list {
		own(&c.list[i].Change)
	}
	for i := range c.gone {
		own(&c.gone[i].Change)
	}
}

// isOwn tells whether the device is another one of this account, on its newest list.
func (c *Contacts) isOwn(id identity.DeviceID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.own.list.Find(id)
	return ok && id != c.self
}

// edited counts the changes since the start.
func (c *Contacts) edited() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.edits
}

// sharedContact is a contact as an account's devices tell it each other, or that it is one no more.
type sharedContact struct {
	ID      identity.DeviceID `json:"id"`     // of the account, or of the single device
	Device  identity.DeviceID `json:"device"` // one of its devices
	Change  change            `json:"change"`
	Removed bool              `json:"removed,omitempty"`

	Name       string `json:"name,omitempty"`
	List       []byte `json:"list,omitempty"` // the account's newest device list that is known
	Blocked    bool   `json:"blocked,omitempty"`
	AutoAccept int64  `json:"auto_accept_max,omitempty"`
}

// contactVersion is what a device says of a contact before anybody knows whether it is news.
type contactVersion struct {
	ID     identity.DeviceID `json:"id"`
	Change change            `json:"change"`
}

// shared lists all contacts, and those that were removed. The account's own devices are no contacts of each other.
func (c *Contacts) shared() (all []sharedContact) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := range c.list {
		if have := &c.list[i]; !c.oneselfLocked(have.party(), have.Device) {
			all = append(all, sharedContact{
				ID: have.party(), Device: have.Device, Change: have.Change,
				Name: have.Name, List: have.List, Blocked: have.Policy.Blocked, AutoAccept: have.Policy.AutoAccept,
			})
		}
	}
	for _, g := range c.gone {
		all = append(all, sharedContact{ID: g.ID, Device: g.Device, Change: g.Change, Removed: true})
	}
	return all
}

// oneselfLocked tells whether it is this account or one of its devices.
func (c *Contacts) oneselfLocked(id, device identity.DeviceID) bool {
	if id == c.self || device == c.self || id == c.own.Account && !id.IsZero() {
		return true
	}
	_, listed := c.own.list.Find(device)
	return listed
}

// newerThan returns what the other device, which has these, does not know, and which of these are news here.
func newerThan(mine []sharedContact, theirs []contactVersion) contactsWant {
	out := contactsWant{Tell: []sharedContact{}, Want: []identity.DeviceID{}}
	known := map[identity.DeviceID]change{}
	for _, v := range theirs {
		if was, twice := known[v.ID]; !twice || v.Change.compare(was) > 0 {
			known[v.ID] = v.Change
		}
	}
	have := map[identity.DeviceID]bool{}
	for _, m := range mine {
		have[m.ID] = true
		v, there := known[m.ID]
		switch order := m.Change.compare(v); {
		case !there, order > 0:
			out.Tell = append(out.Tell, m)
		case order < 0:
			out.Want = append(out.Want, m.ID)
		}
	}
	for _, v := range theirs {
		if !have[v.ID] {
			have[v.ID] = true
			out.Want = append(out.Want, v.ID)
		}
	}
	return out
}

// Errors of a contact that another device of the account tells of.
var (
	errChangeBy   = errors.New("the change was made at a device that is none of the account's")
	errChangeTime = errors.New("the change was made in the future: is a clock wrong?")
)

// merged is what became of one of them.
type merged struct {
	contact Contact
	what    string              // joined, changed or removed; empty: nothing that anybody sees
	kept    bool                // there is something to store
	revoked []identity.DeviceID // by a newer list that came with it
}

// merge takes what another device of the account tells, as far as it is news. The error is about those that were not taken.
func (c *Contacts) merge(told []sharedContact) (news []merged, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := Contacts{list: c.list, gone: c.gone}
	defer func() { c.list, c.gone = was.list, was.gone }() // what was stored is put back by editLocked below
	c.list, c.gone = slices.Clone(c.list), slices.Clone(c.gone)
	var wrong []error
	kept := false
	for _, s := range told {
		m, err := c.mergeOneLocked(s)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", s.ID.Short(), err))
			continue
		}
		kept = kept || m.kept
		if m.what != "" {
			news = append(news, m)
		}
	}
	if kept {
		if err := c.editLocked(c.list, c.gone); err != nil {
			return nil, err
		}
		was.list, was.gone = c.list, c.gone
	}
	return news, errors.Join(wrong...)
}

func (c *Contacts) mergeOneLocked(s sharedContact) (merged, error) {
	if _, listed := c.own.list.Find(s.Change.By); !listed {
		return merged{}, errChangeBy
	}
	switch {
	case s.Change.Version > uint64(time.Now().Add(changeSkew).UnixMilli()):
		return merged{}, errChangeTime
	case c.oneselfLocked(s.ID, s.Device):
		return merged{}, nil
	}
	theirs := Contact{Device: s.Device}
	if _, err := theirs.learn(s.List); err != nil {
		return merged{}, err
	}
	i := slices.IndexFunc(c.list, func(have Contact) bool { return have.is(s.ID, s.Device) || theirs.has(have.Device) })
	if i < 0 {
		return c.mergeNewLocked(s, theirs)
	}
	have := c.list[i]
	order := s.Change.compare(have.Change)
	switch {
	case order > 0 && s.Removed:
		c.list = slices.Delete(c.list, i, i+1)
		c.gone = append(c.gone, goneContact{s.ID, s.Device, s.Change})
		return merged{contact: have, what: "removed", kept: true}, nil
	case s.Removed:
		return merged{}, nil
	}
	revoked, _ := have.learn(s.List) // an older one, or another account's: what is known here stays
	if order <= 0 && bytes.Equal(have.List, c.list[i].List) {
		return merged{}, nil
	}
	if order > 0 {
		have.apply(s)
		have.Name = c.freeNameLocked(s.Name, i)
	}
	c.list[i] = have
	return merged{have, "changed", true, revoked}, nil
}

// mergeNewLocked takes a contact that is none here: it never was, or it was removed.
func (c *Contacts) mergeNewLocked(s sharedContact, theirs Contact) (merged, error) {
	gone, last := c.backLocked(&theirs)
	switch {
	case s.Removed && s.Change.compare(last) > 0:
		c.gone = append(gone, goneContact{s.ID, s.Device, s.Change})
		return merged{kept: true}, nil
	case s.Removed, s.Change.compare(last) <= 0:
		return merged{}, nil
	}
	if _, err := s.Device.X25519(); err != nil {
		return merged{}, err
	}
	if err := checkContactName(s.Name); err != nil {
		return merged{}, err
	}
	if len(c.list) >= maxContacts {
		return merged{}, fmt.Errorf("%d contacts are known already", len(c.list))
	}
	theirs.apply(s)
	theirs.Name = c.freeNameLocked(s.Name, -1)
	c.list, c.gone = append(c.list, theirs), gone
	return merged{contact: theirs, what: "joined", kept: true}, nil
}

// apply takes over what is the account's business. Which folder files go to and who may listen on a port here is this device's.
func (c *Contact) apply(s sharedContact) {
	c.Change, c.Policy.Blocked, c.Policy.AutoAccept = s.Change, s.Blocked, s.AutoAccept
}

// learn takes a device list that another device of the account has, if it is newer. It may have expired: then nobody on it may do anything, until one brings the next.
func (c *Contact) learn(raw []byte) (revoked []identity.DeviceID, err error) {
	if raw == nil {
		return nil, nil
	}
	l, err := identity.ParseDeviceList(raw)
	if err != nil {
		return nil, err
	}
	if _, listed := l.Find(c.Device); c.list == nil && !listed {
		return nil, fmt.Errorf("daemon: %w", identity.ErrListOther)
	}
	if err := l.Follows(c.list); err != nil {
		return nil, err
	}
	return c.take(l, raw), nil
}

// freeNameLocked is the name, or one like it where another contact than the i-th has it.
func (c *Contacts) freeNameLocked(name string, i int) string {
	if checkContactName(name) != nil {
		name = "contact"
	}
	taken := func(name string) bool {
		j := slices.IndexFunc(c.list, func(have Contact) bool { return have.Name == name })
		return j >= 0 && j != i
	}
	free, short := name, strings.ToValidUTF8(name[:min(len(name), maxContactName-5)], "")
	for n := 2; taken(free); n++ { // at most 1,000 times
		free = fmt.Sprintf("%s-%d", short, n)
	}
	return free
}

// reclaimLocked is for a new list of the own account: what devices changed that are on it no more is this device's word from then on, as far as it was
// made before the list; what came after that is doubtful, so that any other device's state outdoes it.
func (c *Contacts) reclaimLocked(l *identity.DeviceList, list []Contact) []Contact {
	if l == nil {
		return list
	}
	list = slices.Clone(list)
	for i := range list {
		ch := &list[i].Change
		if _, listed := l.Find(ch.By); listed || ch.By.IsZero() {
			continue
		}
		if ch.Version > uint64(l.Signed.UnixMilli()) {
			ch.Version = 0
		}
		ch.By = c.self
	}
	return list
}
