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

// Contact is a device the user knows by a name of their own choice.
type Contact struct {
	Name   string            `json:"name"`
	Device identity.DeviceID `json:"device"`
	Policy ContactPolicy     `json:"policy,omitzero"`
}

// Contacts is the list of a home, kept in contacts.json. Safe for concurrent use.
type Contacts struct {
	path string

	mu   sync.RWMutex // guards list
	list []Contact
}

type contactsFile struct {
	Schema   int       `json:"schema"`
	Contacts []Contact `json:"contacts"`
}

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
	if f.Schema != 1 {
		return nil, cli.Errorf("E_CONFIG", "the contacts file is of another version").
			Because(fmt.Errorf("%s has schema %d, this program reads 1", c.path, f.Schema)).
			Hint("run the version that wrote it")
	}
	c.list = f.Contacts
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
		case have.Name == name && have.Device == id:
			return nil
		case have.Name == name:
			return cli.Errorf("E_USAGE", "there is a contact %q already", name).
				Because(fmt.Errorf("it is device %s", have.Device)).Hint("choose another name")
		case have.Device == id:
			return cli.Errorf("E_USAGE", "this device is a contact already").
				Because(fmt.Errorf("its name is %q", have.Name)).Hint("use that name")
		}
	}
	if len(c.list) >= maxContacts {
		return cli.Errorf("E_DENIED", "the contact list is full").Because(fmt.Errorf("it holds %d", maxContacts))
	}
	return c.replaceLocked(append(slices.Clone(c.list), Contact{Name: name, Device: id}))
}

// replaceLocked stores another list and uses it from then on.
func (c *Contacts) replaceLocked(list []Contact) error {
	if err := c.store(list); err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot store the contacts").Because(err).Hint("check the free space and the permissions of the home; the old list is as it was")
	}
	c.list = list
	return nil
}

// store replaces the file atomically: a crash leaves the old list or the new one.
func (c *Contacts) store(list []Contact) error {
	raw, err := json.MarshalIndent(contactsFile{Schema: 1, Contacts: list}, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(c.path, append(raw, '\n'))
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

// Devices returns the ids of the contacts that are not blocked.
func (c *Contacts) Devices() []identity.DeviceID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ids := make([]identity.DeviceID, 0, len(c.list))
	for _, have := range c.list {
		if !have.Policy.Blocked {
			ids = append(ids, have.Device)
		}
	}
	return ids
}

// Knows tells whether the device is a contact that is not blocked.
func (c *Contacts) Knows(id identity.DeviceID) bool {
	have, ok := c.byDevice(id)
	return ok && !have.Policy.Blocked
}

// NameOf returns the contact's name, or the short id of a device that is none.
func (c *Contacts) NameOf(id identity.DeviceID) string {
	if have, ok := c.byDevice(id); ok {
		return have.Name
	}
	return id.Short()
}

func (c *Contacts) byDevice(id identity.DeviceID) (Contact, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i := slices.IndexFunc(c.list, func(have Contact) bool { return have.Device == id })
	if i < 0 {
		return Contact{}, false
	}
	return c.list[i], true
}

// Resolve finds a contact to talk to: Find, but not one that is blocked.
func (c *Contacts) Resolve(who string) (Contact, error) {
	have, err := c.Find(who)
	if err == nil && have.Policy.Blocked {
		return Contact{}, cli.Errorf("E_DENIED", "%s is blocked", have.Name).Hint("node contact set %s blocked=off", have.Name)
	}
	return have, err
}

// Find finds a contact by its name or its device id. A stranger's id is no contact: both sides must know each other.
func (c *Contacts) Find(who string) (Contact, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, have := range c.list {
		if have.Name == who {
			return have, nil
		}
	}
	id, err := identity.ParseDeviceID(who)
	if err != nil {
		e := cli.Errorf("E_PEER_UNKNOWN", "no contact %q", who)
		if looksLikeID(who) {
			return Contact{}, e.Because(err).Hint("copy the device id again")
		}
		return Contact{}, e.Hint("see `node contact ls`, or add it: node contact add %s DEVICE_ID", who)
	}
	for _, have := range c.list {
		if have.Device == id {
			return have, nil
		}
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
