package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"traverse.internal/config"
	"traverse.internal/core/ice"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// ContactPolicy is what differs for one contact. The zero value is any contact's.
type ContactPolicy struct {
	Path       string `json:"path,omitempty"`             // auto, direct-only or relay-only [path.policy]
	Blocked    bool   `json:"blocked,omitempty"`          // treated as a stranger: it gets no answer at all
	AutoAccept int64  `json:"auto_accept_max,omitempty"`  // files up to so many bytes are taken unasked [as accept.default says]
	Downloads  string `json:"download_dir,omitempty"`     // absolute path of the folder for its files [the node's]
	Hold       bool   `json:"hold_new_devices,omitempty"` // devices that its account lists from now on get no answer until they are trusted
	Listen     bool   `json:"listen,omitempty"`           // it may have this device listen on loopback ports (forward -R)
	Bench      bool   `json:"bench,omitempty"`            // it may measure the way to this device with what bench sends
}

// PolicyKeys are the names that `contact set` takes, with what they mean.
var PolicyKeys = [][2]string{
	{"auto-accept", "files up to this size are taken unasked, 2GiB for example; off: as accept.default says"},
	{"download-dir", "folder for its files; off: the node's"},
	{"listen", "on: it may have this device listen on loopback ports (`forward -R` there)"},
	{"new-devices", "hold: a device that its account lists from now on gets no answer until `contact trust`; off: the account's word is enough"},
	{"bench", "on: it may measure the way to this device by `node bench`: 1 GiB and a minute at most, one at a time"},
	{"path", "which ways to it are used, whoever calls: auto, direct-only or relay-only; off: as path.policy says"},
	{"blocked", "on: it gets no answer at all, as a stranger"},
}

// set changes one value, as `contact set` writes it.
func (p *ContactPolicy) set(key, value string) (err error) {
	switch key {
	case "auto-accept":
		var size config.Size
		if value != "off" {
			size, err = config.ParseSize(value)
		}
		p.AutoAccept = int64(size)
	case "download-dir":
		if value == "off" {
			value = ""
		} else if !filepath.IsAbs(value) {
			err = errors.New("the folder's path is not absolute")
		}
		p.Downloads = value
	case "listen":
		p.Listen, err = onOff(value)
	case "new-devices":
		if p.Hold = value == "hold"; value != "hold" && value != "off" {
			err = errors.New("it is hold or off")
		}
	case "bench":
		p.Bench, err = onOff(value)
	case "path":
		if value == "off" {
			value = ""
		} else if _, err = ice.ParsePolicy(value); value == "" {
			err = errors.New("it is auto, direct-only, relay-only or off")
		}
		p.Path = value
	case "blocked":
		p.Blocked, err = onOff(value)
	default:
		var names []string
		for _, k := range PolicyKeys {
			names = append(names, k[0])
		}
		err = fmt.Errorf("there are %s", strings.Join(names, ", "))
	}
	if err != nil {
		return cli.Errorf("E_USAGE", "%s=%s cannot be set for a contact", key, value).Because(err).Hint("node contact set -h")
	}
	return nil
}

func onOff(s string) (bool, error) {
	switch s {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, errors.New("it is on or off")
}

func (c Contact) object() ContactObject { return ContactObject{envelope("contact"), c.entry()} }

func (c Contact) entry() ContactEntry {
	e := ContactEntry{PeerRef: PeerRef{c.Name, c.Device.String()}}
	if c.list != nil {
		e.Account, e.Devices, e.Expires = c.Account.String(), c.list.Devices, &c.list.Expires
	}
	if c.Policy != (ContactPolicy{}) {
		e.Policy = &c.Policy
	}
	return e
}

func (c *Contacts) object() ContactList {
	list := ContactList{envelope("contacts"), []ContactEntry{}}
	for _, have := range c.List() {
		list.Contacts = append(list.Contacts, have.entry())
	}
	return list
}

// Set changes a contact's policy: all of the values, KEY to VALUE, or none.
func (c *Contacts) Set(who string, values map[string]string) (Contact, error) {
	return c.edit(who, func(have *Contact) error {
		for key, value := range values {
			if err := have.Policy.set(key, value); err != nil {
				return err
			}
		}
		if have.Policy.Hold && len(have.Trusted) == 0 {
			have.Trusted = have.ids() // those that are known are no news
		}
		return nil
	})
}

// Rename calls a contact something else.
func (c *Contacts) Rename(who, name string) (Contact, error) {
	if err := checkContactName(name); err != nil {
		return Contact{}, err
	}
	return c.edit(who, func(have *Contact) error {
		if i := slices.IndexFunc(c.list, func(other Contact) bool { return other.Name == name }); i >= 0 && have.Name != name {
			return cli.Errorf("E_USAGE", "there is a contact %q already", name).Hint("choose another name")
		}
		have.Name = name
		return nil
	})
}

// edit changes one contact.
func (c *Contacts) edit(who string, change func(*Contact) error) (Contact, error) {
	have, err := c.Find(who)
	if err != nil {
		return Contact{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.list)
	i := slices.IndexFunc(list, func(other Contact) bool { return other.Name == have.Name })
	if i < 0 {
		return Contact{}, cli.Errorf("E_PEER_UNKNOWN", "%s is no contact any more", have.Name)
	}
	if err := change(&list[i]); err != nil {
		return Contact{}, err
	}
	list[i].Change = c.nextLocked(list[i].Change)
	return list[i], c.editLocked(list, c.gone)
}

// Remove forgets a contact.
func (c *Contacts) Remove(who string) (Contact, error) {
	have, err := c.Find(who)
	if err != nil {
		return Contact{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.list)
	i := slices.IndexFunc(list, func(other Contact) bool { return other.Name == have.Name })
	if i < 0 {
		return Contact{}, cli.Errorf("E_PEER_UNKNOWN", "%s is no contact", have.Name).Hint("see `node contact ls`")
	}
	gone := append(slices.Clone(c.gone), goneContact{ID: list[i].party(), Device: list[i].Device, Change: c.nextLocked(list[i].Change)})
	return have, c.editLocked(slices.Delete(list, i, i+1), gone)
}

// policyOf is what differs for the device; nothing for one that is no contact.
func (c *Contacts) policyOf(id identity.DeviceID) ContactPolicy {
	have, _ := c.byDevice(id)
	return have.Policy
}

// pathPolicy says which paths to the device are wanted.
func (d *Daemon) pathPolicy(id identity.DeviceID) ice.Policy {
	if p := d.contacts.policyOf(id); p.Path != "" {
		if policy, err := ice.ParsePolicy(p.Path); err == nil {
			return policy
		}
	}
	return d.cfg.Policy
}

// acceptRule is what happens to a file of so many bytes that the device offers.
func (d *Daemon) acceptRule(peer identity.DeviceID, size int64) Accept {
	if p := d.contacts.policyOf(peer); p.AutoAccept > 0 && d.rules.Load().accept != AcceptDeny {
		if size <= p.AutoAccept {
			return AcceptAuto
		}
		return AcceptAsk
	}
	return d.rules.Load().accept
}

// downloadsFor is the folder for the device's files. done must be called when it is no longer used.
func (d *Daemon) downloadsFor(peer identity.DeviceID) (dir *transfer.Dir, done func(), err error) {
	p := d.contacts.policyOf(peer)
	if p.Downloads == "" {
		return d.downloads, func() {}, nil
	}
	if dir, err = transfer.OpenDir(p.Downloads); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", transfer.ErrStorage, err)
	}
	return dir, func() { _ = dir.Close() }, nil
}

// folderFor is downloadsFor, unless another folder was chosen.
func (d *Daemon) folderFor(peer identity.DeviceID, to []byte) (dir *transfer.Dir, done func(), err error) {
	if len(to) == 0 {
		return d.downloadsFor(peer)
	}
	if dir, err = transfer.OpenDir(string(to)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", transfer.ErrStorage, err)
	}
	return dir, func() { _ = dir.Close() }, nil
}

// SetContact changes a contact's policy. Sessions with one that is blocked end.
func (d *Daemon) SetContact(who string, values map[string]string) (ContactObject, error) {
	have, err := d.contacts.Set(who, values)
	if err != nil {
		return ContactObject{}, err
	}
	if have.Policy.Blocked {
		d.disconnect(have)
	}
	for _, id := range have.ids() {
		if have.held(id) {
			d.manager.Disconnect(id)
		}
	}
	if _, changed := values["path"]; changed {
		for _, p := range have.meant(d.self) {
			d.manager.Repolicy(p.Device)
		}
	}
	return d.contactChanged(have, "changed"), nil
}

// RenameContact calls a contact something else.
func (d *Daemon) RenameContact(who, name string) (ContactObject, error) {
	have, err := d.contacts.Rename(who, name)
	if err != nil {
		return ContactObject{}, err
	}
	return d.contactChanged(have, "renamed"), nil
}

// RemoveContact forgets a contact and ends the sessions with it.
func (d *Daemon) RemoveContact(who string) (ContactObject, error) {
	have, err := d.contacts.Remove(who)
	if err != nil {
		return ContactObject{}, err
	}
	d.disconnect(have)
	return d.contactChanged(have, "removed"), nil
}

// contactChanged tells those who follow, and the account's other devices.
func (d *Daemon) contactChanged(c Contact, what string) ContactObject {
	d.shareContacts()
	return d.showContact(c, what)
}

func (d *Daemon) showContact(c Contact, what string) ContactObject {
	o := c.object()
	d.events.publish(Event{Type: EventContact, What: what, Peer: &o.PeerRef, Contact: &o})
	return o
}

// onContacts changes the contacts through the running daemon, or in the home itself where none runs.
func onContacts(h Home, online func(*Client) (ContactObject, error), offline func(*Contacts) (Contact, error)) (ContactObject, error) {
	l, err := lockHome(h)
	if errors.Is(err, errLocked) {
		return online(NewClient(h.Socket))
	}
	if err != nil {
		return ContactObject{}, cli.Errorf("E_LOCAL_IO", "cannot use the home %s", h.State).Because(err).Hint("check the permissions, or use another --home")
	}
	defer l.release()
	c, err := LoadContacts(h)
	if err != nil {
		return ContactObject{}, err
	}
	have, err := offline(c)
	if err != nil {
		return ContactObject{}, err
	}
	return have.object(), nil
}

// SetContact changes a contact's policy, with or without a running daemon.
func SetContact(ctx context.Context, h Home, who string, values map[string]string) (ContactObject, error) {
	return onContacts(h, func(c *Client) (ContactObject, error) { return c.SetContact(ctx, who, values) },
		func(c *Contacts) (Contact, error) { return c.Set(who, values) })
}

// RenameContact calls a contact something else, with or without a running daemon.
func RenameContact(ctx context.Context, h Home, who, name string) (ContactObject, error) {
	return onContacts(h, func(c *Client) (ContactObject, error) { return c.RenameContact(ctx, who, name) },
		func(c *Contacts) (Contact, error) { return c.Rename(who, name) })
}

// RemoveContact forgets a contact, with or without a running daemon.
func RemoveContact(ctx context.Context, h Home, who string) (ContactObject, error) {
	return onContacts(h, func(c *Client) (ContactObject, error) { return c.RemoveContact(ctx, who) },
		func(c *Contacts) (Contact, error) { return c.Remove(who) })
}
