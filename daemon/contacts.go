package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// maxContacts bounds the list: each costs a few polled DHT slots, and 1,000 of them a 100 KiB file.
const maxContacts = 1000

// maxContactName is in bytes; a petname is typed by a person.
const maxContactName = 64

// Contact is an account, or a single device, that the user knows by a name of their own choice.
type Contact struct {
	Name    string              `json:"name"`
	Device  identity.DeviceID   `json:"device"` // the one that is meant: that which was named, else the one that was added first
	Policy  ContactPolicy       `json:"policy,omitzero"`
	Account identity.AccountID  `json:"account,omitzero"` // zero: a single device
	List    []byte              `json:"list,omitempty"`   // the account's newest device list, signed
	Revoked []identity.DeviceID `json:"revoked,omitempty"`
	Trusted []identity.DeviceID `json:"trusted,omitempty"` // devices that somebody has looked at, or that were known when new ones began to be held
	Change  change              `json:"change,omitzero"`   // the last one that somebody made

	list *identity.DeviceList // List, parsed
	one  bool                 // Device alone is meant: it was named as NAME:DEVICE or by its id
}

// Contacts is the list of a home, kept in contacts.json, and whom else this device answers: the devices of its own account and the guests
// of open invitations. Safe for concurrent use.
type Contacts struct {
	path string
	self identity.DeviceID // zero where nobody asks for the devices

	mu     sync.RWMutex // guards the fields below
	list   []Contact
	own    Contact // this device's account; without a name, and all zero where there is none
	guests []Invitation
	gone   []goneContact // those that were removed, for the account's other devices
	edits  uint64        // changes since the start
	news   chan struct{} // closed and replaced when a device list is taken; nil until somebody waits
}

type contactsFile struct {
	Schema      int           `json:"schema"`
	Contacts    []Contact     `json:"contacts"`
	Own         *Contact      `json:"own,omitempty"`
	Invitations []Invitation  `json:"invitations,omitempty"`
	Removed     []goneContact `json:"removed,omitempty"`
}

// contactsSchema is what is written; schema 1 had single devices only, and is read as such.
const contactsSchema = 2

// LoadContacts reads the list; a home without one has no contacts.
func LoadContacts(h Home) (*Contacts, error) {
	c := &Contacts{path: filepath.Join(h.State, "contacts.json")}
	raw, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, cli.Errorf("E_LOCAL_IO", "cannot read the contacts").Because(err).Hint("check the permissions of the home")
	}
	var f contactsFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, cli.Errorf("E_CONFIG", "the contacts file is damaged").
			Because(fmt.Errorf("%s: %w", c.path, err)).Hint("mend the JSON, or move the file away and add the contacts again")
	}
	if f.Schema != 1 && f.Schema != contactsSchema {
		return nil, cli.Errorf("E_CONFIG", "the contacts file is of another version").
			Because(fmt.Errorf("%s has schema %d, this program reads 1 and %d", c.path, f.Schema, contactsSchema)).
			Hint("run the version that wrote it")
	}
	c.list, c.guests, c.gone = f.Contacts, f.Invitations, f.Removed
	if f.Own != nil {
		c.own = *f.Own
	}
	for i := range c.list {
		err = errors.Join(err, c.list[i].parse())
	}
	if err = errors.Join(err, c.own.parse()); err != nil {
		return nil, cli.Errorf("E_CONFIG", "the contacts file is damaged").
			Because(fmt.Errorf("%s: %w", c.path, err)).Hint("mend the JSON, or move the file away and add the contacts again")
	}
	return c, nil
}

// Add notes a device under a name. The same pair again changes nothing; a name or a device that is taken is an error.
func (c *Contacts) Add(name string, id identity.DeviceID) error {
	if err := checkContactName(name); err != nil {
		return err
	}
	if _, err := id.X25519(); err != nil {
		return cli.Errorf("E_PEER_UNKNOWN", "this device id is not a usable key").Because(err).Hint("copy the id again from `node id` on that device")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, have := range c.list {
		switch {
		case have.Name == name && have.has(id):
			return nil
		case have.Name == name:
			return cli.Errorf("E_USAGE", "there is a contact %q already", name).
				Because(fmt.Errorf("it is device %s", have.Device)).Hint("choose another name")
		case have.has(id):
			return cli.Errorf("E_USAGE", "this device is a contact already").
				Because(fmt.Errorf("its name is %q", have.Name)).Hint("use that name")
		}
	}
	if len(c.list) >= maxContacts {
		return cli.Errorf("E_DENIED", "the contact list is full").Because(fmt.Errorf("it holds %d", maxContacts))
	}
	have := Contact{Name: name, Device: id}
	gone, was := c.backLocked(&have)
	have.Change = c.nextLocked(was)
	return c.editLocked(append(slices.Clone(c.list), have), gone)
}

// storeLocked is storeAllLocked where no contact was removed or came back.
func (c *Contacts) storeLocked(list []Contact, own Contact, guests []Invitation) error {
	return c.storeAllLocked(list, own, guests, c.gone)
}

// storeAllLocked replaces the file atomically, and uses what is in it from then on: a crash leaves the old or the new.
func (c *Contacts) storeAllLocked(list []Contact, own Contact, guests []Invitation, gone []goneContact) error {
	f := contactsFile{Schema: contactsSchema, Contacts: list, Invitations: guests, Removed: gone}
	if !own.Account.IsZero() {
		f.Own = &own
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = replaceFile(c.path, append(raw, '\n'))
	}
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot store the contacts").Because(err).Hint("check the free space and the permissions of the home; the old list is as it was")
	}
	c.list, c.own, c.guests, c.gone = list, own, guests, gone
	return nil
}

// replaceFile gives a file another content as a whole: a crash leaves the old or the new one.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already after the rename
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// List returns a copy, in the order in which the contacts were added.
func (c *Contacts) List() []Contact {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.list)
}

// Resolve finds a contact to talk to: Find, but not one that is blocked.
func (c *Contacts) Resolve(who string) (Contact, error) {
	have, err := c.Find(who)
	if err == nil && have.Policy.Blocked {
		return Contact{}, cli.Errorf("E_DENIED", "%s is blocked", have.Name).Hint("node contact set %s blocked=off", have.Name)
	}
	if err == nil && have.allHeld() {
		return Contact{}, cli.Errorf("E_DENIED", "%s is new, and nobody has looked at it", who).Because(errors.New("new devices of this contact are held (new-devices=hold)")).
			Hint("compare its id, then: node contact trust %s", who)
	}
	return have, err
}

// Find finds a contact by its name or its device id. A stranger's id is no contact: both sides must know each other.
func (c *Contacts) Find(who string) (Contact, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if have, err := c.findNameLocked(who); err != nil || have.Name != "" {
		return have, err
	}
	id, err := identity.ParseDeviceID(who)
	if err != nil {
		e := cli.Errorf("E_PEER_UNKNOWN", "no contact %q", who)
		if looksLikeID(who) {
			return Contact{}, e.Because(err).Hint("copy the device id again")
		}
		return Contact{}, e.Hint("see `node contact ls`, or add it: node contact add %s DEVICE_ID", who)
	}
	if i := slices.IndexFunc(c.list, func(have Contact) bool { return have.Account == id }); i >= 0 {
		return c.list[i], nil
	}
	if have, ok := c.byDeviceLocked(id); ok {
		have.Device, have.one = id, true
		return have, nil
	}
	return Contact{}, cli.Errorf("E_PEER_UNKNOWN", "the device %s is not a contact", id.Short()).
		Hint("node contact add NAME %s, and the same for this device on the other side", id)
}

// looksLikeID tells a mistyped id (56 characters with its check digits) from a name.
func looksLikeID(s string) bool { return len(strings.ReplaceAll(s, "-", "")) >= 40 }

func checkContactName(name string) error {
	bad := func(why string) error {
		return cli.Errorf("E_USAGE", "%q cannot be a contact's name", name).
			Because(errors.New(why)).Hint("use letters, digits, dot, dash and underscore")
	}
	switch {
	case name == "":
		return bad("it is empty")
	case len(name) > maxContactName:
		return bad(fmt.Sprintf("it has %d bytes, at most %d fit", len(name), maxContactName))
	case looksLikeID(name):
		return bad("it looks like a device id")
	case strings.HasPrefix(name, "-"):
		return bad("it begins with a dash, as a flag does")
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-@", r) {
			return bad(fmt.Sprintf("it contains %q", r))
		}
	}
	return nil
}
