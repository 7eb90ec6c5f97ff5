package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// exportWork is age's work factor: 2^18 rounds of scrypt, about a second and 256 MiB. maxExportWork is what Import takes.
const (
	exportWork    = 18 - 8*raced
	maxExportWork = 20
)

// maxExport bounds what Import reads, in bytes: two key files, age's head and the armour.
const maxExport = 64 << 10

// ErrPassphrase is an export that the passphrase does not open.
var ErrPassphrase = errors.New("identity: the passphrase does not open it")

// Export returns the device key stored in dir, and the account's where it is there, encrypted by the passphrase with age (age-encryption.org/v1,
// scrypt, armoured): `age -d` reads it too. Inside are the files one after the other, as they are.
func Export(dir, passphrase string) ([]byte, error) {
	return export(dir, passphrase, exportWork)
}

func export(dir, passphrase string, work int) ([]byte, error) {
	if _, err := Load(dir); err != nil {
		return nil, err
	}
	plain, err := readPrivate(dir, filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	account, err := readPrivate(dir, filepath.Join(dir, AccountFileName))
	if err != nil && !errors.Is(err, ErrMissing) {
		return nil, fmt.Errorf("identity: load %q: %w", filepath.Join(dir, AccountFileName), err)
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("identity: export: %w", err)
	}
	to.SetWorkFactor(work)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return nil, fmt.Errorf("identity: export: %w", err)
	}
	_, err = w.Write(append(plain, account...))
	if err = errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, fmt.Errorf("identity: export: %w", err)
	}
	return out.Bytes(), nil
}

// Import stores in dir what Export made, and returns the device. ErrExists where there is an identity already, ErrPassphrase, ErrCorrupt.
func Import(dir string, exported io.Reader, passphrase string) (*Device, error) {
	for _, name := range []string{FileName, AccountFileName} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return nil, fmt.Errorf("identity: import into %q: %w", dir, ErrExists)
		}
	}
	from, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("identity: import: %w", err)
	}
	from.SetMaxWorkFactor(maxExportWork)
	in := io.LimitReader(exported, maxExport)
	r, err := age.Decrypt(armor.NewReader(in), from)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("identity: import: %w: %w", ErrCorrupt, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFileSize*2))
	if err != nil {
		return nil, fmt.Errorf("identity: import: %w: %w", ErrCorrupt, err)
	}
	file, accountFile := plain, []byte(nil)
	if i := strings.Index(string(plain), accountMagic); i >= 0 {
		file, accountFile = plain[:i], plain[i:]
	}
	device, err := parseFile(file)
	if err != nil {
		return nil, fmt.Errorf("identity: import: %w: %w", ErrCorrupt, err)
	}
	if accountFile != nil {
		a, err := parseAccount(accountFile)
		if err != nil {
			return nil, fmt.Errorf("identity: import: %w: %w", ErrCorrupt, err)
		}
		if err := a.store(dir); err != nil {
			return nil, err
		}
	} else if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("identity: import: %w", err)
	}
	if err := writeNew(dir, filepath.Join(dir, FileName), file); err != nil {
		return nil, fmt.Errorf("identity: import: %w", err)
	}
	return device, nil
}
