package identity

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unicode"
	"unicode/utf8"
)

// An AccountID names an account: it is the account's Ed25519 public key, and under the same rules as a DeviceID. Printed it looks the same.
type AccountID = DeviceID

// Limits of a device list. The longest has 1 + 32 + 3×8 + 1 + 16×(32 + 1 + 63 + 64) + 64 = 2,682 bytes.
const (
	MaxListDevices = 16
	MaxDeviceName  = 63                 // bytes
	MaxListLife    = 7 * 24 * time.Hour // from the signing to the expiry
	MaxListBytes   = 1 + 32 + 3*8 + 1 + MaxListDevices*(32+1+MaxDeviceName+ed25519.SignatureSize) + ed25519.SignatureSize

	listVersion  = 1
	listLabel    = "traverse account list 1\n"   // before what the account signs
	consentLabel = "traverse account member 1\n" // before what a device signs
	listSkew     = 10 * time.Minute              // by which a signer's clock may be ahead
)

// Errors of device lists; callers use errors.Is.
var (
	ErrListFormat  = errors.New("not a device list")
	ErrListSigner  = errors.New("the device list's signature does not fit")
	ErrListExpired = errors.New("the device list has expired")
	ErrListFuture  = errors.New("the device list was signed in the future: is a clock wrong?")
	ErrListOlder   = errors.New("a newer device list is known")
	ErrListOther   = errors.New("the device list is another account's")
)

// A ListedDevice is one device of an account.
type ListedDevice struct {
	ID DeviceID `json:"device"`
	// Consent is the device's signature that it is the account's: nobody is listed who did not want to be.
	Consent [ed25519.SignatureSize]byte `json:"-"`
	Name    string                      `json:"name"` // 1 to MaxDeviceName bytes of UTF-8 without control characters and spaces; no two in a list are the same
}

// A DeviceList is what an account says of itself: these are its devices. Who has the account's key signs it; its version only grows, and a
// device that is not on the newest one is revoked. docs/protocol/account.md has the bytes.
type DeviceList struct {
	Account AccountID
	Version uint64 // from 1
	Signed  time.Time
	Expires time.Time // at most MaxListLife after Signed; both in whole seconds
	Devices []ListedDevice
}

// Find returns the entry of a device.
func (l *DeviceList) Find(id DeviceID) (ListedDevice, bool) {
	if l != nil {
		for _, d := range l.Devices {
			if d.ID == id {
				return d, true
			}
		}
	}
	return ListedDevice{}, false
}

// Named returns the device of that name.
func (l *DeviceList) Named(name string) (ListedDevice, bool) {
	if l != nil {
		for _, d := range l.Devices {
			if d.Name == name {
				return d, true
			}
		}
	}
	return ListedDevice{}, false
}

// CheckTime reports whether the list holds now: ErrListExpired or ErrListFuture where it does not.
func (l *DeviceList) CheckTime(now time.Time) error {
	switch {
	case !now.Before(l.Expires):
		return fmt.Errorf("identity: %w: %s", ErrListExpired, l.Expires.UTC().Format(time.RFC3339))
	case l.Signed.After(now.Add(listSkew)):
		return fmt.Errorf("identity: %w: %s", ErrListFuture, l.Signed.UTC().Format(time.RFC3339))
	}
	return nil
}

// Follows reports whether the list may take the place of one that is known, which is nil where none is: ErrListOther or ErrListOlder where not.
// The same version again does not follow: two lists of one version are two truths.
func (l *DeviceList) Follows(known *DeviceList) error {
	switch {
	case known == nil:
	case known.Account != l.Account:
		return fmt.Errorf("identity: %w", ErrListOther)
	case l.Version <= known.Version:
		return fmt.Errorf("identity: %w: version %d, got %d", ErrListOlder, known.Version, l.Version)
	}
	return nil
}

// check names the first rule that the list breaks.
func (l *DeviceList) check() error {
	signed, expires := l.Signed.Unix(), l.Expires.Unix()
	switch {
	case l.Version == 0:
		return errors.New("version 0")
	case signed < 0 || expires <= signed || expires-signed > int64(MaxListLife/time.Second):
		return fmt.Errorf("it would hold for %d seconds, %d at most", expires-signed, int64(MaxListLife/time.Second))
	case len(l.Devices) == 0 || len(l.Devices) > MaxListDevices:
		return fmt.Errorf("%d devices, 1 to %d are possible", len(l.Devices), MaxListDevices)
	}
	for i, d := range l.Devices {
		if err := CheckDeviceName(d.Name); err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
		if !Verify(d.ID, consentText(l.Account, d.ID), d.Consent[:]) {
			return fmt.Errorf("device %d has not consented", i)
		}
		for _, other := range l.Devices[:i] {
			if other.ID == d.ID || other.Name == d.Name {
				return fmt.Errorf("device %d is there twice", i)
			}
		}
	}
	return nil
}

// Consent signs that the device is one of the account's.
func (d *Device) Consent(account AccountID) [ed25519.SignatureSize]byte {
	return [ed25519.SignatureSize]byte(d.Sign(consentText(account, d.id)))
}

func consentText(account AccountID, device DeviceID) []byte {
	return append(append([]byte(consentLabel), account[:]...), device[:]...)
}

// CheckDeviceName says what is wrong with a device's name in a list.
func CheckDeviceName(name string) error {
	if name == "" || len(name) > MaxDeviceName || !utf8.ValidString(name) {
		return fmt.Errorf("the name %q has not 1 to %d bytes of UTF-8", name, MaxDeviceName)
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '_' && r != '-' && r != '@' {
			return fmt.Errorf("the name %q contains %q", name, r)
		}
	}
	return nil
}

// An Account is the key that signs an account's device list. It never changes once made and is safe for concurrent use.
type Account struct {
	key ed25519.PrivateKey
}

// ID returns the account's id.
func (a *Account) ID() AccountID { return idOf(a.key) }

// Sign appends the signed bytes of the list to dst. The list's Account is the signer's.
func (a *Account) Sign(dst []byte, l *DeviceList) ([]byte, error) {
	own := *l
	own.Account = a.ID()
	if err := own.check(); err != nil {
		return nil, fmt.Errorf("identity: sign device list: %w", err)
	}
	at := len(dst)
	dst = appendList(dst, &own)
	return append(dst, ed25519.Sign(a.key, append([]byte(listLabel), dst[at:]...))...), nil
}

// appendList appends what is signed.
func appendList(dst []byte, l *DeviceList) []byte {
	dst = append(dst, listVersion)
	dst = append(dst, l.Account[:]...)
	dst = binary.BigEndian.AppendUint64(dst, l.Version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Signed.Unix()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Expires.Unix()))
	dst = append(dst, byte(len(l.Devices)))
	for _, d := range l.Devices {
		dst = append(dst, d.ID[:]...)
		dst = append(dst, byte(len(d.Name)))
		dst = append(dst, d.Name...)
		dst = append(dst, d.Consent[:]...)
	}
	return dst
}

// ParseDeviceList reads a signed device list and checks its signature. Whether it holds now, and whether it follows the one that is known, is
// for CheckTime and Follows. Errors are ErrListFormat and ErrListSigner, wrapped.
func ParseDeviceList(b []byte) (*DeviceList, error) {
	l, rest, err := parseList(b)
	if err != nil {
		return nil, fmt.Errorf("identity: %w: %w", ErrListFormat, err)
	}
	signed := b[:len(b)-len(rest)]
	if !Verify(l.Account, append([]byte(listLabel), signed...), rest) {
		return nil, fmt.Errorf("identity: %w", ErrListSigner)
	}
	return l, nil
}

func parseList(b []byte) (*DeviceList, []byte, error) {
	const head = 1 + 32 + 3*8 + 1
	if len(b) > MaxListBytes || len(b) < head {
		return nil, nil, fmt.Errorf("%d bytes", len(b))
	}
	if b[0] != listVersion {
		return nil, nil, fmt.Errorf("format %d", b[0])
	}
	l := &DeviceList{Account: AccountID(b[1:33]), Version: binary.BigEndian.Uint64(b[33:])}
	if _, err := l.Account.point(); err != nil {
		return nil, nil, errors.New("the account is no usable key")
	}
	signed, expires := binary.BigEndian.Uint64(b[41:]), binary.BigEndian.Uint64(b[49:])
	if signed > maxUnix || expires > maxUnix {
		return nil, nil, errors.New("a time beyond the year 9999")
	}
	l.Signed, l.Expires = time.Unix(int64(signed), 0).UTC(), time.Unix(int64(expires), 0).UTC()
	n := int(b[57])
	b = b[head:]
	if n > MaxListDevices {
		return nil, nil, fmt.Errorf("%d devices", n)
	}
	for range n {
		if len(b) < 33 || len(b) < 33+int(b[32])+ed25519.SignatureSize {
			return nil, nil, errors.New("cut short")
		}
		d := ListedDevice{ID: DeviceID(b[:32]), Name: string(b[33 : 33+int(b[32])])}
		d.Consent = [ed25519.SignatureSize]byte(b[33+len(d.Name):])
		if _, err := d.ID.point(); err != nil {
			return nil, nil, errors.New("a device is no usable key")
		}
		l.Devices, b = append(l.Devices, d), b[33+len(d.Name)+ed25519.SignatureSize:]
	}
	if len(b) != ed25519.SignatureSize {
		return nil, nil, fmt.Errorf("%d bytes after the devices", len(b))
	}
	return l, b, l.check()
}

const maxUnix = 253402300799 // 9999-12-31T23:59:59Z

// AccountFileName is the name of the account key's file, beside the device's.
const AccountFileName = "account.pem"

const accountMagic = "traverse-account 1\n"

// CreateAccount makes an account key and stores it in dir, under the rules of [Create].
func CreateAccount(dir string) (*Account, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("identity: make account key: %w", err)
	}
	a := &Account{key}
	if err := a.store(dir); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Account) store(dir string) error {
	path := filepath.Join(dir, AccountFileName)
	data, err := appendAccount(a.key)
	if err == nil {
		err = makeDir(dir)
	}
	if err == nil {
		err = writeNew(dir, path, data)
	}
	if err != nil {
		return fmt.Errorf("identity: create %q: %w", path, err)
	}
	return nil
}

// LoadAccount reads the account key stored in dir, with the errors of [Load].
func LoadAccount(dir string) (*Account, error) {
	path := filepath.Join(dir, AccountFileName)
	data, err := readPrivate(dir, path)
	if err != nil {
		return nil, fmt.Errorf("identity: load %q: %w", path, err)
	}
	a, err := parseAccount(data)
	if err != nil {
		return nil, fmt.Errorf("identity: load %q: %w: %w", path, ErrCorrupt, err)
	}
	return a, nil
}

// RemoveAccount takes an account key away: nobody can make it again.
func RemoveAccount(dir string) error { return os.Remove(filepath.Join(dir, AccountFileName)) }

func appendAccount(key ed25519.PrivateKey) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("identity: write key: %w", err)
	}
	return append([]byte(accountMagic), pem.EncodeToMemory(&pem.Block{Type: keyLabel, Bytes: pkcs8})...), nil
}

// parseAccount takes what appendAccount writes, byte for byte.
func parseAccount(data []byte) (*Account, error) {
	rest, ok := cutMagic(data, accountMagic)
	if !ok {
		return nil, errors.New("not an account file of version 1")
	}
	block, _ := pem.Decode(rest)
	if block == nil || block.Type != keyLabel {
		return nil, errors.New("no private key in it")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, isEd := parsed.(ed25519.PrivateKey)
	if err != nil || !isEd {
		return nil, errors.New("private key is not Ed25519 in PKCS #8") // the cause could quote key bytes
	}
	again, err := appendAccount(key)
	if err != nil || string(again) != string(data) {
		return nil, errors.New("damaged: text was added or cut")
	}
	return &Account{key}, nil
}

func cutMagic(data []byte, magic string) ([]byte, bool) {
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return nil, false
	}
	return data[len(magic):], true
}
