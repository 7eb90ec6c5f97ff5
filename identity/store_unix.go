//go:build unix

package identity

import "os"

// modesCount says that a file's mode tells who can read it.
const modesCount = true

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
