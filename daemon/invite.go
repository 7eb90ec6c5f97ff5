package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// joinChannel is the only one that a guest may open, docs/protocol/account.md 5.
const joinChannel = "join"

// Limits of invitations.
const (
	maxInvitations = 16               // open at a time: each costs polled slots as a contact does
	maxTicketLife  = 24 * time.Hour   // so that a lost ticket is soon worth nothing
	ticketLife     = 10 * time.Minute // by default
	joinTimeout    = 30 * time.Second // of each line
	maxJoinLine    = 64 << 10
	maxJoinAnswer  = 4 << 20 // 1,000 contacts of a list of 2,682 bytes each
)

// Invitation is one that is open: the guest's id, not the ticket's secret.
type Invitation struct {
	Guest   identity.DeviceID   `json:"guest"`
	Kind    identity.TicketKind `json:"kind"`
	Name    string              `json:"name,omitempty"` // what the contact is to be called [what it calls itself]
	Expires time.Time           `json:"expires"`
	UsedBy  identity.DeviceID   `json:"used_by,omitzero"`
	Allow   []string            `json:"allow,omitempty"` // what the contact gets, as `invite --allow` takes it
}

// InviteRequest asks for a ticket.
type InviteRequest struct {
	Device  bool          `json:"device,omitempty"`     // for a device of the account, not for a contact
	Name    string        `json:"name,omitempty"`       // what the contact or the device is to be called [what it calls itself]
	Expires time.Duration `json:"expires_ns,omitempty"` // [10m], at most 24h
	Allow   []string      `json:"allow,omitempty"`      // for a contact: forward:SERVICE[=HOST:PORT], files:SIZE, listen
}

// TicketObject is what `invite` and `device link` print.
type TicketObject struct {
	cli.Envelope
	Ticket  string    `json:"ticket"`
	For     string    `json:"for"` // contact or device
	Expires time.Time `json:"expires"`
}

// JoinRequest answers an invitation.
type JoinRequest struct {
	Ticket string `json:"ticket"`
	Name   string `json:"name,omitempty"` // what the inviter is to be called here [what it calls itself]
}

// JoinedObject is what `join` prints.
type JoinedObject struct {
	cli.Envelope
	For     string        `json:"for"`               // contact or device
	Contact *ContactEntry `json:"contact,omitempty"` // for contact: who it is
	Devices []DeviceEntry `json:"devices,omitempty"` // for device: those of the account
	Learned int           `json:"contacts"`          // for device: how many of the account's contacts are known now that were not
}

func kindText(k identity.TicketKind) string {
	if k == identity.TicketDevice {
		return "device"
	}
	return "contact"
}

// guestLocked returns the open invitation that is a guest's.
func (c *Contacts) guestLocked(id identity.DeviceID) (Invitation, bool) {
	i := slices.IndexFunc(c.guests, func(g Invitation) bool { return g.Guest == id })
	if i < 0 || !time.Now().Before(c.guests[i].Expires) {
		return Invitation{}, false
	}
	return c.guests[i], true
}

func (c *Contacts) guest(id identity.DeviceID) (Invitation, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.guestLocked(id)
}

// setGuest adds or changes an invitation; those that are over go.
func (c *Contacts) setGuest(g Invitation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	guests := slices.DeleteFunc(slices.Clone(c.guests), func(have Invitation) bool { return have.Guest == g.Guest || !now.Before(have.Expires) })
	if len(guests) >= maxInvitations {
		return cli.Errorf("E_DENIED", "%d invitations are open already", maxInvitations).Hint("wait until one expires")
	}
	return c.storeLocked(c.list, c.own, append(guests, g))
}

// Invite makes a ticket for one device.
func (d *Daemon) Invite(req InviteRequest) (TicketObject, error) {
	kind := identity.TicketContact
	if req.Device {
		kind = identity.TicketDevice
		d.inviting.Lock()
		err := d.makeAccount()
		d.inviting.Unlock()
		if err != nil {
			return TicketObject{}, err
		}
	}
	if req.Expires == 0 {
		req.Expires = ticketLife
	}
	if req.Expires < time.Second || req.Expires > maxTicketLife {
		return TicketObject{}, cli.Errorf("E_USAGE", "an invitation cannot last %v", req.Expires).Hint("1s to %v", maxTicketLife)
	}
	if req.Name != "" {
		check := checkContactName
		if req.Device {
			check = identity.CheckDeviceName
		}
		if err := check(req.Name); err != nil {
			return TicketObject{}, cli.Errorf("E_USAGE", "the other side cannot be called %q", req.Name).Because(err)
		}
	}
	if req.Device && len(req.Allow) > 0 {
		return TicketObject{}, cli.Errorf("E_USAGE", "a device of the account is allowed nothing by its ticket").Hint("node expose NAME HOST:PORT --to me:DEVICE")
	}
	if err := d.checkGrants(req.Allow); err != nil {
		return TicketObject{}, err
	}
	ticket := identity.NewTicket(kind, d.self, time.Now().Add(req.Expires))
	guest, err := ticket.Guest()
	if err != nil {
		return TicketObject{}, err
	}
	if err := d.contacts.setGuest(Invitation{Guest: guest.ID(), Kind: kind, Name: req.Name, Expires: ticket.Expires, Allow: req.Allow}); err != nil {
		return TicketObject{}, err
	}
	return TicketObject{envelope("ticket"), ticket.String(), kindText(kind), ticket.Expires}, nil
}

// The lines of docs/protocol/account.md 5.
type joinHello struct {
	Device identity.DeviceID `json:"device"`
	Name   string            `json:"name"`
	Proof  []byte            `json:"proof"`
	List   []byte            `json:"list,omitempty"`
}

type joinAccount struct {
	Account identity.AccountID `json:"account"`
	Error   string             `json:"error,omitempty"`
}

type joinConsent struct {
	Consent []byte `json:"consent"`
}

type joinAnswer struct {
	Device   identity.DeviceID `json:"device"`
	Name     string            `json:"name"`
	List     []byte            `json:"list,omitempty"`
	Contacts []joinContact     `json:"contacts,omitempty"`
	Error    string            `json:"error,omitempty"`
}

type joinContact struct {
	Name   string            `json:"name"`
	Device identity.DeviceID `json:"device"`
	List   []byte            `json:"list,omitempty"`
}

// lines speaks JSON by lines on a channel.
type lines struct {
	io.Writer
	r *bufio.Reader
}

func newLines(rw io.ReadWriter, limit int64) lines {
	return lines{rw, bufio.NewReader(io.LimitReader(rw, limit))}
}

func (l lines) write(v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		_, err = l.Write(append(raw, '\n'))
	}
	return err
}

func (l lines) read(v any) error {
	line, err := l.r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the line ended early: %w", err)
	}
	return json.Unmarshal(line, v)
}

// guestTask answers whoever has a ticket.
func (d *Daemon) guestTask(in *connmgr.Incoming, inv Invitation) {
	ch, err := in.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(joinTimeout))
	l := newLines(ch, 2*maxJoinLine)
	var hello joinHello
	if l.read(&hello) != nil {
		return
	}
	answer, err := d.welcome(l, inv, hello)
	if err != nil {
		d.logFor(in.Peer, "an invitation was not answered well", "for", kindText(inv.Kind), "error", err)
		answer = joinAnswer{Error: explain(err, "the inviter").Message}
	}
	if l.write(answer) == nil && ch.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(ch, 1))
	}
	if err == nil {
		d.spawn(func() { d.manager.Disconnect(inv.Guest) })
	}
}

// welcome makes the device that joins a contact, or a device of the account.
func (d *Daemon) welcome(l lines, inv Invitation, hello joinHello) (joinAnswer, error) {
	d.inviting.Lock()
	defer d.inviting.Unlock()
	switch now, open := d.contacts.guest(inv.Guest); {
	case !identity.CheckJoin(hello.Proof, d.self, inv.Guest, hello.Device):
		return joinAnswer{}, cli.Errorf("E_AUTH", "the device's proof does not fit")
	case !open:
		return joinAnswer{}, cli.Errorf("E_AUTH", "the invitation has expired")
	case !now.UsedBy.IsZero() && now.UsedBy != hello.Device:
		return joinAnswer{}, cli.Errorf("E_AUTH", "another device has used the ticket")
	case hello.Device == d.self:
		return joinAnswer{}, cli.Errorf("E_USAGE", "it is this device's own ticket")
	}
	answer := joinAnswer{Device: d.self, Name: d.cfg.Name}
	again := inv.UsedBy == hello.Device
	inv.UsedBy = hello.Device
	if inv.Kind == identity.TicketContact {
		if own, ok := d.contacts.Own(); ok {
			answer.List = own.List
		}
		have, err := d.contacts.befriend(inv.Name, joinContact{hello.Name, hello.Device, hello.List})
		if err == nil {
			err = d.contacts.setGuest(inv)
		}
		if err != nil {
			return joinAnswer{}, err
		}
		if !again {
			have = d.give(have, inv.Allow)
		}
		d.contactChanged(have, "joined")
		return answer, nil
	}
	if err := d.link(l, inv, hello); err != nil {
		return joinAnswer{}, err
	}
	own, _ := d.contacts.Own()
	answer.List = own.List
	for _, c := range d.contacts.List() {
		if !c.has(hello.Device) && !c.Policy.Blocked {
			answer.Contacts = append(answer.Contacts, joinContact{c.Name, c.Device, c.List})
		}
	}
	return answer, d.contacts.setGuest(inv)
}

// link puts the device on the account's list, once it consents.
func (d *Daemon) link(l lines, inv Invitation, hello joinHello) error {
	own, _ := d.contacts.Own()
	if err := l.write(joinAccount{Account: own.Account}); err != nil {
		return err
	}
	var consent joinConsent
	if err := l.read(&consent); err != nil {
		return err
	}
	return d.signList(func(all []identity.ListedDevice) ([]identity.ListedDevice, error) {
		if slices.ContainsFunc(all, func(dev identity.ListedDevice) bool { return dev.ID == hello.Device }) {
			return all, nil
		}
		if len(all) >= identity.MaxListDevices {
			return nil, cli.Errorf("E_DENIED", "the account has %d devices already", len(all))
		}
		name := inv.Name
		if name == "" {
			name = hello.Name
		}
		dev := identity.ListedDevice{ID: hello.Device, Name: listedName(name, all)}
		copy(dev.Consent[:], consent.Consent)
		return append(all, dev), nil
	})
}

// befriend adds who joined, or who invited, under the wanted name, its own, or one like it. One who is a contact already stays as it is called.
func (c *Contacts) befriend(wanted string, who joinContact) (Contact, error) {
	if have, ok := c.byDevice(who.Device); ok {
		return have, nil
	}
	base := wanted
	if base == "" {
		if base = listedName(who.Name, nil); checkContactName(base) != nil {
			base = "contact-" + who.Device.Short()
		}
	}
	var err error
	for n := 1; n <= maxContacts; n++ {
		name := base
		if n > 1 {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		if _, taken := c.Find(name); taken == nil && !(wanted != "" && n == 1) {
			continue
		}
		err = c.Add(name, who.Device)
		if err != nil {
			return Contact{}, err
		}
		break
	}
	if who.List != nil {
		// Without its list it is a single device, until it brings a list that can be used.
		_, _, _ = c.adopt(who.List, who.Device)
	}
	have, _ := c.byDevice(who.Device)
	return have, nil
}

// partyOf is the account of a contact's list, or the device.
func partyOf(c joinContact) identity.DeviceID {
	if l, err := identity.ParseDeviceList(c.List); err == nil {
		return l.Account
	}
	return c.Device
}

// joinError is an answer that says no.
func joinError(text string) error {
	if len(text) > 200 {
		text = text[:200]
	}
	return cli.Errorf("E_AUTH", "the invitation cannot be used").Because(errors.New(text)).Hint("ask for another ticket")
}

// Join answers an invitation.
func (d *Daemon) Join(ctx context.Context, req JoinRequest) (JoinedObject, error) {
	t, err := identity.ParseTicket(req.Ticket)
	if err != nil {
		return JoinedObject{}, cli.Errorf("E_USAGE", "this is not a ticket").Because(err).Hint("copy it whole, from `node invite` or `node device link`")
	}
	switch {
	case !time.Now().Before(t.Expires):
		return JoinedObject{}, cli.Errorf("E_AUTH", "the ticket has expired").Because(fmt.Errorf("it lasted until %s", t.Expires.Format(time.RFC3339))).
			Hint("ask for another; is a clock wrong?")
	case t.Inviter == d.self:
		return JoinedObject{}, cli.Errorf("E_USAGE", "it is this device's own ticket").Hint("run it on the other device")
	}
	if _, ok := d.contacts.Own(); ok && t.Kind == identity.TicketDevice {
		return JoinedObject{}, cli.Errorf("E_USAGE", "this device belongs to an account already").Hint("see `node device ls`; to leave it: node id revoke")
	}
	if req.Name != "" {
		if err := checkContactName(req.Name); err != nil {
			return JoinedObject{}, err
		}
	}
	var out JoinedObject
	err = d.asGuest(ctx, t, func(l lines, guest identity.DeviceID) error {
		out, err = d.joinAs(l, guest, t, req)
		return err
	})
	return out, err
}

// joinAs is what the device that joins says.
func (d *Daemon) joinAs(l lines, guest identity.DeviceID, t identity.Ticket, req JoinRequest) (JoinedObject, error) {
	out := JoinedObject{Envelope: envelope("joined"), For: kindText(t.Kind)}
	hello := joinHello{Device: d.self, Name: d.cfg.Name, Proof: d.device.JoinProof(t.Inviter, guest)}
	if own, ok := d.contacts.Own(); ok {
		hello.List = own.List
	}
	if err := l.write(hello); err != nil {
		return out, err
	}
	var answer joinAnswer
	if t.Kind == identity.TicketDevice {
		var account joinAccount
		if err := l.read(&account); err != nil {
			return out, err
		}
		if account.Error != "" {
			return out, joinError(account.Error)
		}
		consent := d.device.Consent(account.Account)
		if err := l.write(joinConsent{consent[:]}); err != nil {
			return out, err
		}
	}
	if err := l.read(&answer); err != nil {
		return out, err
	}
	if answer.Error != "" {
		return out, joinError(answer.Error)
	}
	if answer.Device != t.Inviter {
		return out, joinError("the inviter names another device")
	}
	if t.Kind == identity.TicketContact {
		have, err := d.contacts.befriend(req.Name, joinContact{answer.Name, answer.Device, answer.List})
		if err != nil {
			return out, err
		}
		o := d.contactChanged(have, "joined")
		out.Contact = &o.ContactEntry
		return out, nil
	}
	if _, err := d.contacts.setOwn(answer.List); err != nil {
		return out, err
	}
	var told []sharedContact
	for _, c := range answer.Contacts[:min(len(answer.Contacts), maxContacts)] {
		// The oldest change there can be: what the account's devices say of it when they next meet outdoes it.
		told = append(told, sharedContact{ID: partyOf(c), Device: c.Device, Change: change{By: t.Inviter}, Name: listedName(c.Name, nil), List: c.List})
	}
	news, err := d.contacts.merge(told)
	if err != nil {
		d.log.Info("some contacts of the account were not taken", "error", err)
	}
	out.Learned = len(news)
	d.shareContacts() // who wanted to before this device knew its account was declined
	out.Devices = deviceList(d.contacts, d.self, d.cfg.Name, false).Devices
	return out, nil
}
