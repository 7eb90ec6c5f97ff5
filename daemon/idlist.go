package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// What a key in an IdentityList is.
const (
	KeyDevice  = "device"
	KeyNext    = "next"    // the device's from `id rotate` on
	KeyAccount = "account" // the one that signs the device's account
)

// IdentityList is what `id list` prints: everything that says who this device is. No secret is in it.
type IdentityList struct {
	cli.Envelope
	Keys []IdentityKey `json:"keys"`
}

// IdentityKey is a key of this device, or its account's.
type IdentityKey struct {
	What        string           `json:"what"`
	ID          string           `json:"id"`
	Name        string           `json:"name,omitempty"` // of the device
	File        string           `json:"file,omitempty"` // where the private key is; absent: another device has it
	Certificate *CertificateInfo `json:"certificate,omitempty"`
	List        *ListInfo        `json:"list,omitempty"` // of the account's devices
	Note        string           `json:"note,omitempty"`
}

// CertificateInfo is a device's certificate. Peers look at the key in it alone.
type CertificateInfo struct {
	Serial string    `json:"serial"`
	SHA256 string    `json:"sha256"` // of its DER form
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
}

// ListInfo is the account's newest list of devices that is known here.
type ListInfo struct {
	File    string    `json:"file"`
	Version uint64    `json:"version"`
	Signed  time.Time `json:"signed"`
	Expires time.Time `json:"expires"`
	Devices int       `json:"devices"`
}

// ListIdentities reads a home's keys.
func ListIdentities(h Home) (IdentityList, error) {
	out := IdentityList{Envelope: envelope("identities")}
	device, err := identity.Load(h.Identity)
	if err != nil {
		return out, explainIdentity(err, h)
	}
	c, err := LoadContacts(h)
	if err != nil {
		return out, err
	}
	key := deviceKey(KeyDevice, device, filepath.Join(h.Identity, identity.FileName))
	key.Name = readName(h)
	out.Keys = append(out.Keys, key)
	own, belongs := c.Own()
	if next, err := identity.LoadNext(h.Identity); err == nil {
		key := deviceKey(KeyNext, next, filepath.Join(h.Identity, identity.NextFileName))
		if key.Note = "it is to take the device key's place: node id rotate"; !own.has(next.ID()) {
			key.Note = "it is left from a rotation that did not begin: node id rotate"
		}
		out.Keys = append(out.Keys, key)
	}
	account, err := identity.LoadAccount(h.Identity)
	if err != nil && !errors.Is(err, identity.ErrMissing) {
		return out, explainIdentity(err, h)
	}
	if belongs || account != nil {
		out.Keys = append(out.Keys, accountKey(h, c, own, account))
	}
	return out, nil
}

func deviceKey(what string, d *identity.Device, file string) IdentityKey {
	leaf := d.Certificate().Leaf
	sum := sha256.Sum256(leaf.Raw)
	return IdentityKey{
		What: what, ID: d.ID().String(), File: file,
		Certificate: &CertificateInfo{leaf.SerialNumber.Text(16), hex.EncodeToString(sum[:]), leaf.NotBefore, leaf.NotAfter},
	}
}

// accountKey is the account that the device belongs to, or would sign; key is nil where another device signs.
func accountKey(h Home, c *Contacts, own Contact, key *identity.Account) IdentityKey {
	k := IdentityKey{What: KeyAccount}
	if l := own.list; l != nil {
		k.ID = own.Account.String()
		k.List = &ListInfo{c.path, l.Version, l.Signed, l.Expires, len(l.Devices)}
		k.Note = "another device signs: this one cannot link, rename or revoke"
	}
	if key != nil {
		k.File, k.Note = filepath.Join(h.Identity, identity.AccountFileName), ""
		if own.list == nil {
			k.ID, k.Note = key.ID().String(), "it has signed nothing that is known here: `node device link` makes the first list"
		}
	}
	return k
}
