package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// NextFileName is the name of the file with the key that is to take the device's place, beside the device's.
const NextFileName = "device.next.pem"

// CreateNext makes the key that is to take the device's place, under the rules of [Create].
func CreateNext(dir string) (*Device, error) { return create(dir, NextFileName) }

// LoadNext reads that key, with the errors of [Load].
func LoadNext(dir string) (*Device, error) { return load(dir, NextFileName) }

// DropNext takes it away; there may be none.
func DropNext(dir string) error {
	err := os.Remove(filepath.Join(dir, NextFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Promote puts the next key in the place of the device's, which is gone then. A crash leaves one or the other.
func Promote(dir string) error {
	if _, err := LoadNext(dir); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(dir, NextFileName), filepath.Join(dir, FileName))
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("identity: replace the device key: %w", err)
	}
	return nil
}
