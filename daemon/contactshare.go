package daemon

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
)

// contactsChannel is on which two devices of an account make their contacts equal, docs/protocol/account.md 6.
const contactsChannel = "account-contacts"

// The lines of docs/protocol/account.md 6, in the order in which they are written.
type contactsHave struct {
	Have []contactVersion `json:"have"`
}

type contactsWant struct {
	Tell []sharedContact     `json:"tell"`
	Want []identity.DeviceID `json:"want"`
}

type contactsTell struct {
	Tell []sharedContact `json:"tell"`
}

// sharing is what is known of the contacts of the account's other devices.
type sharing struct {
	mu      sync.Mutex                   // guards the fields below
	running bool                         // somebody goes from device to device
	again   bool                         // and is to go once more
	told    map[identity.DeviceID]uint64 // which edit of ours a device has; of own devices only, at most identity.MaxListDevices
}

func (s *sharing) has(id identity.DeviceID, edit uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	told, ok := s.told[id]
	return ok && told == edit
}

func (s *sharing) set(id identity.DeviceID, edit uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil || len(s.told) > 2*identity.MaxListDevices {
		s.told = map[identity.DeviceID]uint64{}
	}
	s.told[id] = edit
}

// shareContacts calls those of the account's devices that may not have the contacts as they are here. Who is not there now hears of them when the two next meet.
func (d *Daemon) shareContacts() {
	if _, ok := d.contacts.Own(); !ok {
		return
	}
	d.sharing.mu.Lock()
	defer d.sharing.mu.Unlock()
	if d.sharing.running {
		d.sharing.again = true
		return
	}
	d.sharing.running = d.spawn(d.shareTask)
}

func (d *Daemon) shareTask() {
	for {
		calls := newFew(announceAtOnce)
		own, _ := d.contacts.Own()
		for _, dev := range own.devices() {
			if dev.Device == d.self || d.sharing.has(dev.Device, d.contacts.edited()) {
				continue
			}
			calls.do(func() { d.shareWith(dev.Device) })
		}
		calls.wait()
		d.sharing.mu.Lock()
		more := d.sharing.again && d.ctx.Err() == nil
		d.sharing.again, d.sharing.running = false, more
		d.sharing.mu.Unlock()
		if !more {
			return
		}
	}
}

// metOwn is for a new session with a device: of two of one account the one with the lower id asks, and the other one too where it has news.
func (d *Daemon) metOwn(peer identity.DeviceID) {
	if d.contacts.isOwn(peer) && (d.self.Compare(peer) < 0 || !d.sharing.has(peer, d.contacts.edited())) {
		d.shareWith(peer)
	}
}

// shareWith makes the contacts of both equal.
func (d *Daemon) shareWith(peer identity.DeviceID) {
	ctx, cancel := context.WithTimeout(d.ctx, listTimeout)
	defer cancel()
	ch, _, err := d.manager.Connect(ctx, peer, contactsChannel)
	if err == nil {
		defer ch.Close()
		_ = ch.SetDeadline(time.Now().Add(listTimeout))
		err = d.offerContacts(newLines(ch, maxJoinAnswer), peer)
		if err == nil {
			err = ch.CloseWrite()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(ch, 1)) // its end says that all was taken
		}
	}
	if err != nil {
		d.log.Debug("the contacts were not made equal", "peer", d.contacts.NameOf(peer), "error", err)
	}
}

// offerContacts is what the side says that opened the channel.
func (d *Daemon) offerContacts(l lines, peer identity.DeviceID) error {
	edit, mine := d.contacts.edited(), d.contacts.shared()
	have := contactsHave{Have: []contactVersion{}}
	for _, m := range mine {
		have.Have = append(have.Have, contactVersion{m.ID, m.Change})
	}
	var answer contactsWant
	if err := l.write(have); err != nil {
		return err
	}
	if err := l.read(&answer); err != nil {
		return err
	}
	edit += d.takeContacts(peer, answer.Tell)
	tell := contactsTell{Tell: []sharedContact{}}
	for _, m := range mine {
		if slices.Contains(answer.Want, m.ID) {
			tell.Tell = append(tell.Tell, m)
		}
	}
	if err := l.write(tell); err != nil {
		return err
	}
	d.sharing.set(peer, edit)
	return nil
}

// contactsTask is what the other side says.
func (d *Daemon) contactsTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(listTimeout))
	l := newLines(ch, maxJoinAnswer)
	var have contactsHave
	if l.read(&have) != nil {
		return
	}
	edit := d.contacts.edited()
	answer := newerThan(d.contacts.shared(), have.Have)
	if l.write(answer) != nil {
		return
	}
	var tell contactsTell
	if l.read(&tell) != nil {
		return
	}
	d.sharing.set(in.Peer, edit+d.takeContacts(in.Peer, tell.Tell))
}

// takeContacts takes what another device of the account tells, and returns how many edits that was: one, or none.
func (d *Daemon) takeContacts(from identity.DeviceID, told []sharedContact) (edits uint64) {
	if len(told) == 0 {
		return 0
	}
	before := d.contacts.edited()
	news, err := d.contacts.merge(told)
	if err != nil {
		d.log.Warn("some contacts of another device of the account were not taken", "peer", d.contacts.NameOf(from), "error", err)
	}
	for _, m := range news {
		if m.what == "removed" || m.contact.Policy.Blocked {
			d.disconnect(m.contact)
		}
		if len(m.revoked) > 0 {
			d.listChanged(m.contact.list, m.revoked)
		}
		d.showContact(m.contact, m.what)
	}
	if d.contacts.edited() == before {
		return 0
	}
	d.log.Info("contacts were taken over from another device of the account", "peer", d.contacts.NameOf(from), "changed", len(news))
	d.shareContacts() // with those who are left
	return 1
}
