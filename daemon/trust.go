package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// What is known of a contact's device besides that its account lists it.
const (
	TrustFirstUse = "first-use" // it was taken at its word: nobody has compared an id of this contact
	TrustLookedAt = "trusted"   // somebody said that it is the contact's, or it was known when new devices began to be held
	TrustNew      = "new"       // it came after that, and is answered since its account lists it
	TrustHeld     = "held"      // it came after that, and gets no answer until it is trusted
)

// ContactDetail is what `contact show` and `contact trust` print: a contact and all that is known of it.
type ContactDetail struct {
	ContactObject
	Version  uint64          `json:"list_version,omitempty"` // of its device list
	Each     []ContactDevice `json:"each"`                   // its devices
	Services []string        `json:"services,omitempty"`     // that it may reach; absent: no node runs, or none
}

// ContactDevice is one device of a contact.
type ContactDevice struct {
	PeerRef
	Trust string `json:"trust"` // first-use, trusted, new or held
	Presence
}

type trustRequest struct {
	Devices []string `json:"devices,omitempty"` // their ids [all of the contact's]
}

// ids lists the contact's devices.
func (c *Contact) ids() (ids []identity.DeviceID) {
	for _, d := range c.devices() {
		ids = append(ids, d.Device)
	}
	return ids
}

// held tells whether the device waits for somebody to look at it.
func (c *Contact) held(id identity.DeviceID) bool {
	return c.Policy.Hold && !slices.Contains(c.Trusted, id)
}

// allHeld tells whether nobody is left whom the contact means.
func (c *Contact) allHeld() bool {
	if !c.Policy.Hold {
		return false
	}
	if c.one {
		return c.held(c.Device)
	}
	return !slices.ContainsFunc(c.ids(), func(id identity.DeviceID) bool { return !c.held(id) })
}

func (c *Contact) trustOf(id identity.DeviceID) string {
	switch {
	case slices.Contains(c.Trusted, id):
		return TrustLookedAt
	case c.held(id):
		return TrustHeld
	case len(c.Trusted) > 0:
		return TrustNew
	}
	return TrustFirstUse
}

// detail describes the contact; now is nil where no node runs.
func (c *Contact) detail(s *sightings, now map[identity.DeviceID]Presence) ContactDetail {
	out := ContactDetail{ContactObject: c.object(), Each: []ContactDevice{}}
	if c.list != nil {
		out.Version = c.list.Version
	}
	for _, d := range c.devices() {
		one := ContactDevice{PeerRef: PeerRef{d.Name, d.Device.String()}, Trust: c.trustOf(d.Device), Presence: now[d.Device]}
		if now == nil {
			one.LastSeen = s.last(d.Device)
		}
		out.Each = append(out.Each, one)
	}
	return out
}

// Trust notes that somebody has looked at the devices with the ids, or at all that who names.
func (c *Contacts) Trust(who string, ids []string) (Contact, error) {
	meant, err := c.Find(who)
	if err != nil {
		return Contact{}, err
	}
	looked := meant.ids()
	if meant.one {
		looked = []identity.DeviceID{meant.Device}
	}
	if len(ids) > 0 {
		looked = nil
		for _, text := range ids {
			id, err := identity.ParseDeviceID(text)
			if err != nil {
				return Contact{}, cli.Errorf("E_PEER_UNKNOWN", "this is not a device id").Because(err).Hint("copy it again from `node id` on that device")
			}
			if !meant.has(id) {
				return Contact{}, cli.Errorf("E_AUTH", "%s has no device %s", meant.Name, id.Short()).
					Because(errors.New("who is called so here is somebody else, or the account does not list that device")).Hint("see `node contact show %s`", meant.Name)
			}
			looked = append(looked, id)
		}
	}
	return c.edit(who, func(have *Contact) error {
		trusted := slices.Clone(have.Trusted)
		for _, id := range looked {
			if !slices.Contains(trusted, id) {
				trusted = append(trusted, id)
			}
		}
		have.Trusted = trusted[max(0, len(trusted)-maxRevoked):]
		return nil
	})
}

// TrustContact notes that somebody has looked at a contact's devices.
func (d *Daemon) TrustContact(who string, ids []string) (ContactDetail, error) {
	have, err := d.contacts.Trust(who, ids)
	if err != nil {
		return ContactDetail{}, err
	}
	d.contactChanged(have, "trusted")
	return d.ContactDetail(have.Name)
}

// ContactDetail describes a contact.
func (d *Daemon) ContactDetail(who string) (ContactDetail, error) {
	have, err := d.contacts.Find(who)
	if err != nil {
		return ContactDetail{}, err
	}
	out := have.detail(d.seen, d.presences())
	for _, e := range d.services.List() {
		reaches := e.To == nil || slices.Contains(e.To, have.party()) || slices.ContainsFunc(have.ids(), func(id identity.DeviceID) bool { return slices.Contains(e.To, id) })
		if reaches && !have.Policy.Blocked {
			out.Services = append(out.Services, e.Name)
		}
	}
	return out, nil
}

// TrustContact is Daemon.TrustContact, with or without a running daemon.
func TrustContact(ctx context.Context, h Home, who string, ids []string) (out ContactDetail, err error) {
	_, err = onContacts(h, func(c *Client) (ContactObject, error) {
		out, err = c.TrustContact(ctx, who, ids)
		return out.ContactObject, err
	}, func(c *Contacts) (Contact, error) {
		have, err := c.Trust(who, ids)
		out = have.detail(loadSeen(h), nil)
		return have, err
	})
	return out, err
}

// ShowContact reads one contact of a home: from its daemon, where one runs.
func ShowContact(ctx context.Context, h Home, who string) (ContactDetail, error) {
	out, err := NewClient(h.Socket).Contact(ctx, who)
	if told := (*cli.Error)(nil); err == nil || !errors.As(err, &told) || told.Code != "E_NO_DAEMON" {
		return out, err
	}
	c, err := LoadContacts(h)
	if err != nil {
		return ContactDetail{}, err
	}
	have, err := c.Find(who)
	if err != nil {
		return ContactDetail{}, err
	}
	return have.detail(loadSeen(h), nil), nil
}

// newDevices warns of devices that came after somebody had looked at a contact's.
func (c *Contacts) newDevices() (all []warning) {
	for _, have := range c.List() {
		var names []string
		what := "and answered"
		for _, d := range have.devices() {
			switch have.trustOf(d.Device) {
			case TrustHeld:
				what = "and held"
				names = append(names, d.Name)
			case TrustNew:
				names = append(names, d.Name)
			}
		}
		if len(names) > 0 && !have.Policy.Blocked {
			all = append(all, warning{
				"contact", LevelWarning, fmt.Sprintf("%s is new %s, and nobody has looked at it", strings.Join(names, ", "), what),
				fmt.Sprintf("compare the id with that which `node id` prints there, then: node contact trust %s", have.Name),
			})
		}
	}
	return all
}
