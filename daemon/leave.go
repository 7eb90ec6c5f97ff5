package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// leaveChannel is on which a device asks the one that signs to take it off the account's list, docs/protocol/account.md 7.
const leaveChannel = "account-leave"

// partTime is how long the device that signs waits for one that leaves to read the list: nothing else is signed meanwhile.
const partTime = 5 * time.Second

// LeaveRequest asks to take this device off its account.
type LeaveRequest struct {
	Anyway bool `json:"anyway,omitempty"` // although nobody signs after it, or nobody can be told
}

// LeaveObject is what `id revoke` prints.
type LeaveObject struct {
	cli.Envelope
	Device  string     `json:"device"`
	Account string     `json:"account"`
	Listed  bool       `json:"listed"`         // the account's others list it still: nobody who signs was there
	Told    int        `json:"told"`           // how many have the list without it by now, where this device has signed it
	Ends    *time.Time `json:"ends,omitempty"` // of the others' list, which nobody renews
}

// Leave takes this device off its account: by the device that signs, or by itself where it is that.
func (d *Daemon) Leave(ctx context.Context, req LeaveRequest) (LeaveObject, error) {
	own, ok := d.contacts.Own()
	out := LeaveObject{Envelope: envelope("left"), Device: d.self.String()}
	if !ok {
		return out, cli.Errorf("E_USAGE", "this device belongs to no account").Because(errors.New("contacts know it by its id alone, and forget it by themselves")).
			Hint("a new id: node id rotate")
	}
	out.Account = own.Account.String()
	if d.account.key != nil {
		return d.signOff(own, req, out)
	}
	err := d.askToLeave(ctx, own)
	switch {
	case err == nil:
		return out, nil
	case !req.Anyway:
		name, _ := own.list.Find(d.self)
		return out, cli.Errorf("E_PEER_SILENT", "the device that signs for the account cannot be told").Because(err).
			Hint("run there: node device revoke %s", name.Name).Hint("node id revoke --yes leaves all the same: the others list this device until it is revoked there")
	}
	out.Listed = true
	return out, d.contacts.leaveAccount(d.self)
}

// askToLeave asks the account's devices, all at once: only the one that signs says yes.
func (d *Daemon) askToLeave(ctx context.Context, own Contact) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	others := own.meant(d.self)
	results := make([]error, len(others))
	var wg sync.WaitGroup
	for i, dev := range others {
		wg.Go(func() {
			if results[i] = d.askOneToLeave(ctx, dev.Device); results[i] == nil {
				cancel()
				return
			}
			results[i] = fmt.Errorf("%s: %w", dev.Name, explain(results[i], dev.Name))
		})
	}
	wg.Wait()
	if slices.Contains(results, nil) {
		return nil
	}
	return errors.Join(append(results, errors.New("no device that signs has answered"))...)
}

// askOneToLeave gets the list without this device.
func (d *Daemon) askOneToLeave(ctx context.Context, id identity.DeviceID) error {
	ch, _, err := d.manager.Connect(ctx, id, leaveChannel)
	if err != nil {
		return err
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(listTimeout))
	if err := ch.CloseWrite(); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(ch, identity.MaxListBytes+1))
	if reason.Of(err) == reason.AuthRevoked { // the list was quicker by another way
		return d.contacts.leaveAccount(d.self)
	}
	if err != nil {
		return err
	}
	l, _, err := d.contacts.adopt(raw, id)
	if !errors.Is(err, errOwnRevoked) {
		return errors.Join(errors.New("it lists this device still"), err)
	}
	d.log.Info("this device has left its account", "account", l.Account.Short())
	return nil
}

// leaveTask is the side that signs. The device gets the list before its sessions end.
func (d *Daemon) leaveTask(in *connmgr.Incoming) {
	if d.account.key == nil {
		_ = in.Decline("this device does not sign for the account")
		return
	}
	ch, err := in.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(listTimeout))
	if n, err := io.Copy(io.Discard, io.LimitReader(ch, 1)); n > 0 || err != nil {
		return
	}
	// It is told first: whatever meets it after the list is in force ends its session.
	_ = ch.SetDeadline(time.Now().Add(partTime))
	l, revoked, err := d.signNext(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) {
		return slices.DeleteFunc(all, func(dev identity.ListedDevice) bool { return dev.ID == in.Peer }), nil
	}, func(list []byte) {
		if _, err := ch.Write(list); err == nil && ch.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(ch, 1)) // its end says that the list was read
		}
	})
	if err != nil {
		d.log.Error("a device of the account cannot leave it", "peer", in.Peer.Short(), "error", err)
		return
	}
	d.log.Info("a device has left the account", "device", in.Peer.Short())
	d.listChanged(l, revoked)
	d.spawn(d.announce)
}

// signOff is for the device that signs: it signs a last list, without itself, and gives up the account's key. Nobody renews that list.
func (d *Daemon) signOff(own Contact, req LeaveRequest, out LeaveObject) (LeaveObject, error) {
	now := time.Now().Truncate(time.Second)
	l := &identity.DeviceList{Account: own.Account, Version: own.list.Version + 1, Signed: now, Expires: now.Add(identity.MaxListLife)}
	for _, dev := range own.list.Devices {
		if dev.ID != d.self {
			l.Devices = append(l.Devices, dev)
		}
	}
	switch {
	case len(l.Devices) == 0:
		return out, cli.Errorf("E_USAGE", "the account has no other device").Because(errors.New("a list has one at the least, and this is it")).Hint("a new id for this device: node id rotate")
	case !req.Anyway:
		return out, cli.Errorf("E_DENIED", "this device signs for the account: without it nobody does").
			Because(fmt.Errorf("the list of the other %d ends %s after it, and contacts refuse them from then on", len(l.Devices), l.Expires.UTC().Format(time.RFC3339))).
			Hint("keep the key: node id export --out account.age").Hint("another key for this device, in its place: node id rotate").Hint("end the account all the same: node id revoke --yes")
	}
	d.signing.Lock()
	defer d.signing.Unlock()
	raw, err := d.account.key.Sign(nil, l)
	if err != nil {
		return out, cli.Errorf("E_UNEXPECTED", "the account's last device list cannot be signed").Because(err)
	}
	out.Told, out.Ends = d.tellAll(raw), &l.Expires
	if err := d.contacts.leaveAccount(d.self); err != nil {
		return out, err
	}
	if err := identity.RemoveAccount(d.cfg.Home.Identity); err != nil {
		return out, cli.Errorf("E_LOCAL_IO", "cannot take the account's key away").Because(err)
	}
	d.log.Info("this device has left its account, for which it signed; the node begins anew", "told", out.Told, "ends", l.Expires)
	d.again.Store(true)
	d.cancel()
	return out, nil
}

// tellAll gives a list to everybody who is there, and counts them.
func (d *Daemon) tellAll(raw []byte) (told int) {
	var mu sync.Mutex // guards told
	calls := newFew(announceAtOnce)
	for _, p := range d.contacts.each() {
		if d.account.isNext(p.Device) || !d.contacts.Knows(p.Device) {
			continue
		}
		calls.do(func() {
			// Who has taken it ends its sessions with this device, at times before it says so.
			if err := d.pushList(p.Device, raw); err == nil || reason.Of(err) == reason.AuthRevoked {
				mu.Lock()
				defer mu.Unlock()
				told++
			}
		})
	}
	calls.wait()
	return told
}
