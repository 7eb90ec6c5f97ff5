package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/framing"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// accountChannel carries a device list, docs/protocol/account.md 3.
const accountChannel = "account-list"

const (
	listTimeout = 30 * time.Second // to push a list to one device, or to read one
	renewEvery  = time.Hour        // how often the signer looks whether its list grows old
	renewBefore = identity.MaxListLife / 2
)

// account is this device's hold on its account's key. key is nil where another device signs, and where there is no account.
type account struct {
	key *identity.Account

	mu   sync.Mutex                   // guards the fields below
	told map[identity.DeviceID]uint64 // which version of the list the signer knows a device to have
	next identity.DeviceID            // this device's own next key, whom nobody can call yet
}

// announceAtOnce is how many devices are called at a time to be told of a new list.
const announceAtOnce = 4

// hasTold notes which version of the own list a device has.
func (a *account) hasTold(id identity.DeviceID, version uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told == nil {
		a.told = map[identity.DeviceID]uint64{}
	}
	a.told[id] = max(a.told[id], version)
}

func (a *account) knows(id identity.DeviceID) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told[id]
}

// awaits notes the key that is to take this device's place.
func (a *account) awaits(next identity.DeviceID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next = next
}

func (a *account) isNext(id identity.DeviceID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.next == id
}

// announce calls those that the signer does not know to have the newest list. Who is not there now is called again in an hour, or learns it when it next meets
// one of the account's devices.
func (d *Daemon) announce() {
	own, ok := d.contacts.Own()
	if !ok || d.account.key == nil || d.ctx.Err() != nil {
		return
	}
	calls := newFew(announceAtOnce)
	for _, p := range d.contacts.each() {
		if d.account.isNext(p.Device) || d.account.knows(p.Device) >= own.list.Version || !d.contacts.Knows(p.Device) {
			continue
		}
		calls.do(func() { _ = d.pushList(p.Device, own.List) })
	}
	calls.wait()
}

// openAccount loads the key that signs the device list, where this device has it.
func (d *Daemon) openAccount() error {
	key, err := identity.LoadAccount(d.cfg.Home.Identity)
	if errors.Is(err, identity.ErrMissing) {
		return nil
	}
	if err != nil {
		return cli.Errorf("E_IDENTITY", "cannot use the account key in %s", d.cfg.Home.Identity).Because(err).Hint("put back a copy of it: node id import")
	}
	d.account.key = key
	if next, err := identity.LoadNext(d.cfg.Home.Identity); err == nil {
		d.account.awaits(next.ID())
	}
	return nil
}

// signList signs the account's next list and uses it from then on. change gets the devices that are listed now.
func (d *Daemon) signList(change func([]identity.ListedDevice) ([]identity.ListedDevice, error)) error {
	l, revoked, err := d.signNext(change, func([]byte) {})
	if err != nil {
		return err
	}
	d.listChanged(l, revoked)
	d.spawn(d.announce)
	return nil
}

// signNext is signList without telling anybody but whom first tells, while the list before it is in force still.
func (d *Daemon) signNext(change func([]identity.ListedDevice) ([]identity.ListedDevice, error), first func(list []byte)) (l *identity.DeviceList, revoked []identity.DeviceID, err error) {
	d.signing.Lock()
	defer d.signing.Unlock()
	if d.account.key == nil {
		return nil, nil, cli.Errorf("E_DENIED", "this device does not sign for the account").Hint("run it on the device that linked this one: see `node device ls`")
	}
	own, _ := d.contacts.Own()
	now := time.Now().Truncate(time.Second)
	l = &identity.DeviceList{Account: d.account.key.ID(), Version: 1, Signed: now, Expires: now.Add(identity.MaxListLife)}
	if own.list != nil {
		l.Version, l.Devices = own.list.Version+1, slices.Clone(own.list.Devices)
	} else {
		l.Devices = []identity.ListedDevice{{ID: d.self, Name: listedName(d.cfg.Name, nil), Consent: d.device.Consent(l.Account)}}
		// A key that came from elsewhere has signed before. Seconds since 1970 are more than any count of changes.
		l.Version = uint64(now.Unix())
	}
	if l.Devices, err = change(l.Devices); err != nil {
		return nil, nil, err
	}
	raw, err := d.account.key.Sign(nil, l)
	if err != nil {
		return nil, nil, cli.Errorf("E_USAGE", "the account's device list cannot be signed").Because(err)
	}
	first(raw)
	revoked, err = d.contacts.setOwn(raw)
	return l, revoked, err
}

// setOwn makes a list the account's own that this device has just signed, or that it was put on.
func (c *Contacts) setOwn(raw []byte) (revoked []identity.DeviceID, err error) {
	l, err := identity.ParseDeviceList(raw)
	if err == nil {
		err = l.CheckTime(time.Now())
	}
	if _, listed := l.Find(c.self); err == nil && !listed {
		err = errOwnRevoked
	}
	if err != nil {
		return nil, cli.Errorf("E_AUTH", "the account's device list cannot be used").Because(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.own
	revoked = own.take(l, raw)
	return revoked, c.storeLocked(c.reclaimLocked(l, c.list), own, c.guests)
}

// listedName makes a device's name fit for a list in which no other has it.
func listedName(name string, taken []identity.ListedDevice) string {
	var fit []rune
	for _, r := range name {
		if identity.CheckDeviceName(string(r)) != nil {
			r = '-'
		}
		if len(string(fit))+len(string(r)) > identity.MaxDeviceName-3 {
			break
		}
		fit = append(fit, r)
	}
	base := string(fit)
	if base == "" {
		base = "device"
	}
	name = base
	for n := 2; slices.ContainsFunc(taken, func(d identity.ListedDevice) bool { return d.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// renewLoop signs the list anew when half of its life is over.
func (d *Daemon) renewLoop(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		if own, ok := d.contacts.Own(); ok && d.account.key != nil && time.Until(own.list.Expires) < renewBefore {
			err := d.signList(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) { return all, nil })
			if err != nil {
				d.log.Error("the account's device list cannot be renewed", "expires", own.list.Expires, "error", err)
			}
		} else {
			d.spawn(d.announce)
		}
		d.shareContacts()
		d.storeSeen()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// greeted answers a device's HELLO with the lists that it should have and does not know.
func (d *Daemon) greeted(peer identity.DeviceID, known []framing.AccountVersion) {
	if own, ok := d.contacts.Own(); ok {
		for _, v := range known {
			if v.Account == own.Account {
				d.account.hasTold(peer, v.Version)
			}
		}
	}
	for _, raw := range d.contacts.listsNewer(peer, known) {
		_ = d.pushList(peer, raw)
	}
	d.metOwn(peer)
}

// pushList gives a device a list, on the session that is there or on a new one.
func (d *Daemon) pushList(peer identity.DeviceID, raw []byte) error {
	ctx, cancel := context.WithTimeout(d.ctx, listTimeout)
	defer cancel()
	ch, _, err := d.manager.Connect(ctx, peer, accountChannel)
	if err != nil {
		d.log.Debug("a device list was not passed on", "peer", d.contacts.NameOf(peer), "error", err)
		return err
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(listTimeout))
	if _, err = ch.Write(raw); err == nil {
		err = ch.CloseWrite()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(ch, 1)) // its end says that the list was taken
	}
	if own, ok := d.contacts.Own(); ok && err == nil && bytes.Equal(raw, own.List) {
		d.account.hasTold(peer, own.list.Version)
	}
	if err != nil {
		d.log.Debug("a device list was not taken", "peer", d.contacts.NameOf(peer), "error", err)
	}
	return err
}

// accountTask takes a device list that a device brings.
func (d *Daemon) accountTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(listTimeout))
	raw, err := io.ReadAll(io.LimitReader(ch, identity.MaxListBytes+1))
	if err != nil {
		return
	}
	l, revoked, err := d.contacts.adopt(raw, in.Peer)
	switch {
	case errors.Is(err, errOwnRevoked):
		d.log.Warn("this device was revoked by its account", "account", l.Account.Short())
	case errors.Is(err, identity.ErrListOlder):
		return // it came another way meanwhile
	case err != nil:
		d.logFor(in.Peer, "a device list was refused", "error", err)
		_ = ch.Reset(uint16(framing.CodeDeclined), "refused")
		return
	}
	d.logFor(in.Peer, "a device list was taken", "account", d.contacts.NameOf(l.Account), "version", l.Version, "devices", len(l.Devices), "revoked", len(revoked))
	d.listChanged(l, revoked)
}

// listChanged lets the sessions with revoked devices end, and passes the list on to the devices that are here.
func (d *Daemon) listChanged(l *identity.DeviceList, revoked []identity.DeviceID) {
	for _, id := range revoked {
		d.spawn(func() { d.manager.Revoke(id) })
		for _, e := range d.table.of(id.String(), func(e *entry) bool { return !e.shown.State.Ended() }) {
			d.spawn(func() { d.failRevoked(e) })
		}
	}
	if len(revoked) > 0 && d.turnd != nil {
		if _, err := d.turnd.Reload(d.withoutRevoked(*d.cfg.Turnd)); err != nil {
			d.log.Error("the relay still lets in a device that is revoked", "error", err)
		}
	}
	here := map[identity.DeviceID]bool{}
	for _, s := range d.manager.Sessions() {
		if s.State == connmgr.StateConnected {
			here[s.Peer] = true
		}
	}
	own, _ := d.contacts.Own()
	for id := range here {
		_, listed := l.Find(id)
		switch {
		case own.Account != l.Account && !listed:
		case d.contacts.Authorized(id) == nil || listed:
			for _, raw := range d.contacts.listsNewer(id, nil) {
				d.spawn(func() { _ = d.pushList(id, raw) })
			}
		}
	}
	close(d.contacts.swapChanged())
}

// failRevoked ends a transfer with a device that was revoked.
func (d *Daemon) failRevoked(e *entry) {
	why := &transfer.Error{Kind: transfer.ErrInterrupted, By: transfer.Local, Cause: errPeerRevoked{}}
	d.table.stop(e, why)
	ctx, r := d.table.begin(d.ctx, e, why)
	defer d.table.finish(e, r)
	d.end(ctx, e, errPeerRevoked{})
}

// DeviceObject is one device of the account.
type DeviceObject struct {
	cli.Envelope
	DeviceEntry
}

// DeviceEntry is a device of the account, as `device ls` shows it.
type DeviceEntry struct {
	identity.ListedDevice
	Self   bool `json:"self"`             // it is this one
	Signer bool `json:"signer,omitempty"` // it has the account's key; only that device itself knows
	Presence
}

// DeviceList is what `device ls` prints.
type DeviceList struct {
	cli.Envelope
	Account string              `json:"account,omitempty"` // absent: this device is a party of its own
	Version uint64              `json:"version,omitempty"`
	Expires *time.Time          `json:"expires,omitempty"`
	Devices []DeviceEntry       `json:"devices"`
	Revoked []identity.DeviceID `json:"revoked,omitempty"` // the last 64 that were on the list once
}

// ListDevices reads the devices of a home's account.
func ListDevices(h Home) (DeviceList, error) {
	device, err := identity.Load(h.Identity)
	if err != nil {
		return DeviceList{}, explainIdentity(err, h)
	}
	c, err := LoadContacts(h)
	if err != nil {
		return DeviceList{}, err
	}
	_, err = identity.LoadAccount(h.Identity)
	list := deviceList(c, device.ID(), readName(h), err == nil)
	list.present(loadSeen(h), nil)
	return list, nil
}

func deviceList(c *Contacts, self identity.DeviceID, name string, signs bool) DeviceList {
	out := DeviceList{Envelope: envelope("devices"), Devices: []DeviceEntry{}}
	own, ok := c.Own()
	if !ok {
		out.Devices = append(out.Devices, DeviceEntry{ListedDevice: identity.ListedDevice{ID: self, Name: listedName(name, nil)}, Self: true, Signer: signs})
		return out
	}
	out.Account, out.Version, out.Expires = own.Account.String(), own.list.Version, &own.list.Expires
	out.Revoked = own.Revoked
	for _, dev := range own.list.Devices {
		out.Devices = append(out.Devices, DeviceEntry{ListedDevice: dev, Self: dev.ID == self, Signer: dev.ID == self && signs})
	}
	return out
}

// RevokeDevice takes a device off the account's list, by its name there or its id.
func (d *Daemon) RevokeDevice(who string) (DeviceObject, error) {
	var gone identity.ListedDevice
	err := d.signList(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) {
		i := slices.IndexFunc(all, func(dev identity.ListedDevice) bool { return dev.Name == who || dev.ID.String() == who })
		switch {
		case i < 0:
			return nil, cli.Errorf("E_PEER_UNKNOWN", "the account has no device %q", who).Hint("see `node device ls`")
		case all[i].ID == d.self:
			return nil, cli.Errorf("E_USAGE", "the device that signs cannot revoke itself").Hint("a new key for it: node id rotate").Hint("to leave the account, which ends it: node id revoke")
		}
		gone = all[i]
		return slices.Delete(all, i, i+1), nil
	})
	if err != nil {
		return DeviceObject{}, err
	}
	d.log.Info("a device was revoked", "device", gone.Name)
	return DeviceObject{envelope("device"), DeviceEntry{ListedDevice: gone}}, nil
}

// RenameDevice calls a device of the account something else: bob:desk to contacts.
func (d *Daemon) RenameDevice(who, name string) (DeviceObject, error) {
	var renamed identity.ListedDevice
	err := d.signList(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) {
		if err := identity.CheckDeviceName(name); err != nil {
			return nil, cli.Errorf("E_USAGE", "a device cannot be called %q", name).Because(err).Hint("use letters, digits, dot, dash and underscore")
		}
		i := slices.IndexFunc(all, func(dev identity.ListedDevice) bool { return dev.Name == who || dev.ID.String() == who })
		if i < 0 {
			return nil, cli.Errorf("E_PEER_UNKNOWN", "the account has no device %q", who).Hint("see `node device ls`")
		}
		if j := slices.IndexFunc(all, func(dev identity.ListedDevice) bool { return dev.Name == name }); j >= 0 && j != i {
			return nil, cli.Errorf("E_USAGE", "the account has a device %q already", name).Hint("choose another name")
		}
		all[i].Name = name
		renamed = all[i]
		return all, nil
	})
	if err != nil {
		return DeviceObject{}, err
	}
	return DeviceObject{envelope("device"), DeviceEntry{ListedDevice: renamed, Self: renamed.ID == d.self}}, nil
}

// makeAccount makes the account of a device that has none: its key, and the first list.
func (d *Daemon) makeAccount() error {
	if _, ok := d.contacts.Own(); ok {
		if d.account.key == nil {
			return cli.Errorf("E_DENIED", "this device does not sign for the account").Hint("run it on the device that linked this one")
		}
		return nil
	}
	if d.account.key == nil {
		key, err := identity.CreateAccount(d.cfg.Home.Identity)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return cli.Errorf("E_LOCAL_IO", "cannot make the account key").Because(err).Hint("check the permissions of %s", d.cfg.Home.Identity)
		}
		if err != nil {
			return d.openAccount()
		}
		d.account.key = key
	}
	return d.signList(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) { return all, nil })
}

// errPeerRevoked is a device that its account has revoked, while something was going on with it.
type errPeerRevoked struct{}

func (errPeerRevoked) Error() string       { return "the device was revoked by its account" }
func (errPeerRevoked) Reason() reason.Code { return reason.AuthRevoked }

// freshTime is how long a device whose account's list has expired has to bring a newer one.
const freshTime = 5 * time.Second

// waitAuthorized connects with a device whose account's list has expired, so that it brings a newer one.
func (d *Daemon) waitAuthorized(ctx context.Context, id identity.DeviceID) error {
	changed := d.contacts.changed()
	if !errors.Is(d.contacts.Authorized(id), errListExpired) {
		return nil // Connect says what else is wrong
	}
	own, _ := d.contacts.Own()
	_ = d.pushList(id, own.List) // whatever comes of it: both have said HELLO then
	over := time.NewTimer(freshTime)
	defer over.Stop()
	for {
		select {
		case <-changed:
		case <-over.C:
			return cli.Errorf("E_AUTH", "the device list of %s has expired", d.contacts.NameOf(id)).Because(errListExpired).
				Hint("is the device up there that signs? see `node device ls` there")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		changed = d.contacts.changed()
		if d.contacts.Authorized(id) == nil {
			return nil
		}
	}
}
