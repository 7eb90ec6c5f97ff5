package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"traverse.internal/config"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// IdentityObject is what `init` and `id` print.
type IdentityObject struct {
	cli.Envelope
	DeviceID string `json:"device_id"`
	Name     string `json:"name"`
}

// Init makes a home: the device key, and the device's name where one is given. It never replaces a key.
func Init(h Home, name string) (IdentityObject, error) {
	if name == "" {
		name, _ = os.Hostname()
	}
	if _, err := config.Load("", nil, map[string]string{"name": name}); err != nil {
		return IdentityObject{}, cli.Errorf("E_USAGE", "%q cannot be a device's name", name).Because(err).Hint("node init --name NAME")
	}
	device, err := identity.Create(h.Identity)
	if err != nil {
		return IdentityObject{}, explainIdentity(err, h)
	}
	if err := writeName(h, name); err != nil {
		return IdentityObject{}, err
	}
	return IdentityObject{envelope("identity"), device.ID().String(), name}, nil
}

// Identity reads a home's identity.
func Identity(h Home) (IdentityObject, error) {
	device, err := identity.Load(h.Identity)
	if err != nil {
		return IdentityObject{}, explainIdentity(err, h)
	}
	return IdentityObject{envelope("identity"), device.ID().String(), readName(h)}, nil
}

// AddContact notes a contact through the running daemon, or in the home itself where none runs.
func AddContact(ctx context.Context, h Home, name, device string) (ContactObject, error) {
	l, err := lockHome(h)
	if errors.Is(err, errLocked) {
		return NewClient(h.Socket).AddContact(ctx, name, device)
	}
	if err != nil {
		return ContactObject{}, cli.Errorf("E_LOCAL_IO", "cannot use the home %s", h.State).Because(err).Hint("check the permissions, or use another --home")
	}
	defer l.release()
	self, err := identity.Load(h.Identity)
	if err != nil {
		return ContactObject{}, explainIdentity(err, h)
	}
	c, err := LoadContacts(h)
	if err != nil {
		return ContactObject{}, err
	}
	return addContact(c, self.ID(), name, device)
}

// ListContacts reads the list from the home: the file is replaced whole, so it can be read beside a running daemon.
func ListContacts(h Home) (ContactList, error) {
	c, err := LoadContacts(h)
	if err != nil {
		return ContactList{}, err
	}
	return c.object(), nil
}

// WaitUp waits until the home's daemon answers.
func WaitUp(ctx context.Context, h Home) (Status, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := NewClient(h.Socket).Status(ctx)
		if err == nil {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, err
		}
	}
}

// ExportIdentity returns the home's keys as an age file.
func ExportIdentity(h Home, passphrase string) ([]byte, error) {
	raw, err := identity.Export(h.Identity, passphrase)
	if err != nil {
		return nil, explainIdentity(err, h)
	}
	return raw, nil
}

// ImportIdentity makes the home the device that an export holds.
func ImportIdentity(h Home, exported io.Reader, passphrase, name string) (IdentityObject, error) {
	if name == "" {
		name, _ = os.Hostname()
	}
	if _, err := config.Load("", nil, map[string]string{"name": name}); err != nil {
		return IdentityObject{}, cli.Errorf("E_USAGE", "%q cannot be a device's name", name).Because(err).Hint("--name NAME")
	}
	device, err := identity.Import(h.Identity, exported, passphrase)
	if errors.Is(err, identity.ErrPassphrase) {
		return IdentityObject{}, cli.Errorf("E_IDENTITY", "the export cannot be opened").Because(err).Hint("is it the right passphrase?")
	}
	if err != nil {
		return IdentityObject{}, explainIdentity(err, h)
	}
	if err := writeName(h, name); err != nil {
		return IdentityObject{}, err
	}
	return IdentityObject{envelope("identity"), device.ID().String(), name}, nil
}
