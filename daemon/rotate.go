package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// A device's id is its key, so that a new key is a new id: docs/adr has why the two live side by side for a while. The device that signs for an account puts the
// next key on the list beside the old one and tells everybody, by the old key that they know; then the next takes its place.

// What became of a rotation.
const (
	RotationWaiting   = "waiting"   // some have not heard of the next key
	RotationSwitched  = "switched"  // the device has the new key
	RotationCancelled = "cancelled" // the next key is gone
)

// rotateWait is how long a rotation waits by default for those who are to hear of the next key.
const rotateWait = 30 * time.Second

// ErrAgain ends a Serve whose node is to begin anew in the same process: its key is another.
var ErrAgain = errors.New("daemon: the device has a new key")

// RotateRequest asks for a new key of the device.
type RotateRequest struct {
	Anyway bool          `json:"anyway,omitempty"`  // do not mind who has not heard of it
	Cancel bool          `json:"cancel,omitempty"`  // drop the next key instead
	Wait   time.Duration `json:"wait_ns,omitempty"` // for those who are to hear of it [30s]
}

// RotationObject is what `id rotate` prints.
type RotationObject struct {
	cli.Envelope
	State   string    `json:"state"` // waiting, switched or cancelled
	From    string    `json:"from"`
	To      string    `json:"to,omitempty"`
	Told    int       `json:"told"`              // how many contacts know the new key; the account's other devices are one
	Waiting []PeerRef `json:"waiting,omitempty"` // who does not
}

// Rotate gives the device a new key. It returns once all who are to hear of it have, or the wait is over; where all have, or that does not matter, the node begins
// anew with the new key after it.
func (d *Daemon) Rotate(ctx context.Context, req RotateRequest) (RotationObject, error) {
	out := RotationObject{Envelope: envelope("rotation"), From: d.self.String()}
	if d.account.key == nil {
		_, belongs := d.contacts.Own()
		return out, cannotRotate(belongs)
	}
	if !d.rotating.TryLock() {
		return out, cli.Errorf("E_DENIED", "the key is being renewed already").Hint("wait for that command to end")
	}
	defer d.rotating.Unlock()
	if req.Cancel {
		return d.cancelRotation(out)
	}
	next, err := d.announceNext()
	if err != nil {
		return out, err
	}
	out.To = next.ID().String()
	if req.Wait <= 0 {
		req.Wait = rotateWait
	}
	ctx, cancel := context.WithTimeout(ctx, req.Wait)
	defer cancel()
	d.waitTold(ctx, next.ID())
	out.Told, out.Waiting = d.unaware(next.ID())
	if out.State = RotationWaiting; len(out.Waiting) > 0 && !req.Anyway {
		return out, nil
	}
	if err := d.switchTo(next); err != nil {
		return out, err
	}
	out.State = RotationSwitched
	d.log.Info("the device has a new key; the node begins anew", "from", out.From, "to", out.To)
	d.again.Store(true)
	d.cancel()
	return out, nil
}

// cannotRotate is for a device that signs no list.
func cannotRotate(belongs bool) error {
	if belongs {
		return cli.Errorf("E_DENIED", "another device signs for the account").Because(errors.New("a new key is a new id, and only the signer can put it on the account's list")).
			Hint("stop the node, then: node id rotate --yes").Hint("then link it again: node device link on the device that signs, node join here")
	}
	return cli.Errorf("E_DENIED", "a new key is a new device id, and no account says whose it is").
		Because(errors.New("contacts know this device by its id alone: each has to add the new one by hand")).
		Hint("stop the node, then: node id rotate --yes").Hint("a device that has linked another one keeps its contacts: node device link")
}

// announceNext makes the next key, where there is none yet, and signs a list with both.
func (d *Daemon) announceNext() (*identity.Device, error) {
	dir := d.cfg.Home.Identity
	next, err := identity.LoadNext(dir)
	if errors.Is(err, identity.ErrMissing) {
		next, err = identity.CreateNext(dir)
	}
	if err != nil {
		return nil, explainIdentity(err, d.cfg.Home)
	}
	d.account.awaits(next.ID())
	if own, ok := d.contacts.Own(); ok && own.has(next.ID()) {
		return next, nil
	}
	err = d.signList(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) {
		if len(all) >= identity.MaxListDevices {
			return nil, cli.Errorf("E_DENIED", "the account has %d devices already: the new key needs a place beside the old one", len(all)).Hint("node device revoke NAME")
		}
		name := d.cfg.Name
		if i := slices.IndexFunc(all, func(dev identity.ListedDevice) bool { return dev.ID == d.self }); i >= 0 {
			name = all[i].Name
		}
		return append(all, identity.ListedDevice{ID: next.ID(), Name: listedName(name+"-next", all), Consent: next.Consent(d.account.key.ID())}), nil
	})
	return next, err
}

// waitTold calls those who have not heard of the next key, until all have or ctx ends.
func (d *Daemon) waitTold(ctx context.Context, next identity.DeviceID) {
	called := make(chan struct{})
	if !d.spawn(func() { d.announce(); close(called) }) {
		return
	}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if _, waiting := d.unaware(next); len(waiting) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-called:
			return // all were called; who did not answer does not in a minute either
		case <-ctx.Done():
			return
		case <-d.ctx.Done():
			return
		}
	}
}

// unaware counts the parties that have the newest list by one of their devices, and names the others: the devices of an account pass it on to each other. One that is
// blocked shall know nothing.
func (d *Daemon) unaware(next identity.DeviceID) (told int, waiting []PeerRef) {
	own, _ := d.contacts.Own()
	parties := d.contacts.List()
	if own.list != nil {
		parties = append(parties, own)
	}
	for _, c := range parties {
		var ids []identity.DeviceID
		for _, dev := range c.meant(d.self) {
			if dev.Device != next && d.contacts.Knows(dev.Device) {
				ids = append(ids, dev.Device)
			}
		}
		switch {
		case len(ids) == 0:
		case slices.ContainsFunc(ids, func(id identity.DeviceID) bool { return own.list != nil && d.account.knows(id) >= own.list.Version }):
			told++
		default:
			waiting = append(waiting, PeerRef{c.Name, ids[0].String()})
		}
	}
	return told, waiting
}

// switchTo signs the list on which the next key has the old one's place, and puts it in the place of the old one. A crash between the two is mended at the next start.
func (d *Daemon) switchTo(next *identity.Device) error {
	d.signing.Lock()
	defer d.signing.Unlock()
	own, _ := d.contacts.Own()
	now := time.Now().Truncate(time.Second)
	l := &identity.DeviceList{Account: own.Account, Version: own.list.Version + 1, Signed: now, Expires: now.Add(identity.MaxListLife)}
	name := ""
	for _, dev := range own.list.Devices {
		if dev.ID == d.self {
			name = dev.Name
		} else {
			l.Devices = append(l.Devices, dev)
		}
	}
	i := slices.IndexFunc(l.Devices, func(dev identity.ListedDevice) bool { return dev.ID == next.ID() })
	if i < 0 || name == "" {
		return cli.Errorf("E_UNEXPECTED", "the account's list is not the one that was told")
	}
	l.Devices[i].Name = name
	raw, err := d.account.key.Sign(nil, l)
	if err != nil {
		return cli.Errorf("E_UNEXPECTED", "the account's device list cannot be signed").Because(err)
	}
	if err := d.contacts.handOver(raw, next.ID()); err != nil {
		return err
	}
	if err := identity.Promote(d.cfg.Home.Identity); err != nil {
		return cli.Errorf("E_LOCAL_IO", "the new key could not take the old one's place").Because(err).Hint("start the node again: it tries once more")
	}
	return nil
}

func (d *Daemon) cancelRotation(out RotationObject) (RotationObject, error) {
	next, err := identity.LoadNext(d.cfg.Home.Identity)
	if err == nil {
		out.To = next.ID().String()
		if own, ok := d.contacts.Own(); ok && own.has(next.ID()) {
			if _, err := d.RevokeDevice(out.To); err != nil {
				return out, err
			}
		}
	} else if errors.Is(err, identity.ErrMissing) {
		return out, cli.Errorf("E_USAGE", "there is no next key to drop").Hint("node id rotate makes one")
	}
	if err := identity.DropNext(d.cfg.Home.Identity); err != nil {
		return out, cli.Errorf("E_LOCAL_IO", "cannot take the next key away").Because(err)
	}
	d.account.awaits(identity.DeviceID{})
	out.State = RotationCancelled
	return out, nil
}

// handOver makes the list the account's own, on which this device has another key, and the changes of contacts that were made here the new key's.
func (c *Contacts) handOver(raw []byte, to identity.DeviceID) error {
	l, err := identity.ParseDeviceList(raw)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list, gone := c.changesToLocked(to)
	own := c.own
	own.take(l, raw)
	if err := c.storeAllLocked(list, own, c.guests, gone); err != nil {
		return err
	}
	c.self = to
	return nil
}

// changesToLocked are the contacts with the changes that were made at this device as those of its new key.
func (c *Contacts) changesToLocked(to identity.DeviceID) ([]Contact, []goneContact) {
	list, gone := slices.Clone(c.list), slices.Clone(c.gone)
	for i := range list {
		if list[i].Change.By == c.self {
			list[i].Change.By = to
		}
	}
	for i := range gone {
		if gone[i].Change.By == c.self {
			gone[i].Change.By = to
		}
	}
	return list, gone
}

// settleRotation ends a rotation that a crash left halfway: where the account's list has the next key in the old one's place, it takes it.
func settleRotation(h Home, device *identity.Device, c *Contacts) (*identity.Device, error) {
	own, belongs := c.Own()
	if !belongs || own.has(device.ID()) {
		return device, nil
	}
	next, err := identity.LoadNext(h.Identity)
	if err != nil || !own.has(next.ID()) {
		return device, nil // what is wrong with the list is told where it is used
	}
	if err := identity.Promote(h.Identity); err != nil {
		return nil, explainIdentity(err, h)
	}
	return next, nil
}

// RotateIdentity gives a device a new key that no account of its own can tell of: one without an account, or one that another device signs for, which leaves the
// account by it. The node must not run.
func RotateIdentity(h Home) (RotationObject, error) {
	out := RotationObject{Envelope: envelope("rotation"), State: RotationSwitched}
	l, err := lockHome(h)
	if errors.Is(err, errLocked) {
		return out, cli.Errorf("E_DENIED", "the node runs with the old key").Hint("end it first: node stop")
	}
	if err != nil {
		return out, cli.Errorf("E_LOCAL_IO", "cannot use the home %s", h.State).Because(err).Hint("check the permissions, or use another --home")
	}
	defer l.release()
	old, err := identity.Load(h.Identity)
	if err != nil {
		return out, explainIdentity(err, h)
	}
	out.From = old.ID().String()
	if _, err := identity.LoadAccount(h.Identity); err == nil {
		return out, cli.Errorf("E_NO_DAEMON", "the node has to run for that").
			Because(errors.New("this device signs for its account, so that contacts and the other devices can be told of the new key, by the old one")).Hint("node up, then: node id rotate")
	} else if !errors.Is(err, identity.ErrMissing) {
		return out, explainIdentity(err, h)
	}
	c, err := LoadContacts(h)
	if err != nil {
		return out, err
	}
	if err := identity.DropNext(h.Identity); err != nil { // of a try that ended halfway: nobody knows it
		return out, cli.Errorf("E_LOCAL_IO", "cannot use the identity folder").Because(err)
	}
	next, err := identity.CreateNext(h.Identity)
	if err != nil {
		return out, explainIdentity(err, h)
	}
	out.To = next.ID().String()
	for _, have := range c.List() {
		out.Waiting = append(out.Waiting, PeerRef{have.Name, have.Device.String()})
	}
	c.adoptChanges(old.ID())
	if err := c.leaveAccount(next.ID()); err != nil {
		return out, err
	}
	if err := identity.Promote(h.Identity); err != nil {
		return out, cli.Errorf("E_LOCAL_IO", "the new key could not take the old one's place").Because(err).Hint("run it again")
	}
	return out, nil
}

// leaveAccount forgets the own account; the contacts stay. Changes made here are by the key that is named from then on.
func (c *Contacts) leaveAccount(by identity.DeviceID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, gone := c.changesToLocked(by)
	if err := c.storeAllLocked(list, Contact{}, c.guests, gone); err != nil {
		return fmt.Errorf("leave the account: %w", err)
	}
	c.self = by
	return nil
}
