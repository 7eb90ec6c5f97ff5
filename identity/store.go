package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FileName is the identity file's name in its directory.
const FileName = "device.pem"

// Errors of Create and Load, wrapped with the path and what to look at; callers use errors.Is.
var (
	ErrExists      = fmt.Errorf("identity exists already: %w", fs.ErrExist)
	ErrMissing     = fmt.Errorf("no identity: %w", fs.ErrNotExist)
	ErrPermissions = errors.New("permissions too open")
	ErrCorrupt     = errors.New("identity file is corrupt")
)

// Create makes a new device and stores it in dir, which it makes (0700) when there is none. It never overwrites:
// ErrExists when there is an identity, however damaged, also when two programs create at once. After it returned the
// identity survives a power cut; when it fails there is none.
func Create(dir string) (*Device, error) { return create(dir, FileName) }

func create(dir, name string) (*Device, error) {
	path := filepath.Join(dir, name)
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("identity: create %q: %w", path, err)
	}
	// Link would say so too, but the common case should not leave its mark on the disk first.
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("identity: create %q: %w", path, ErrExists)
	}
	device, err := New()
	if err != nil {
		return nil, err
	}
	data, err := appendFile(nil, device.key, device.leaf.Raw)
	if err != nil {
		return nil, err
	}
	if err := writeNew(dir, path, data); err != nil {
		return nil, fmt.Errorf("identity: create %q: %w", path, err)
	}
	return device, nil
}

// Load reads the device stored in dir: ErrMissing when there is none, ErrPermissions when others can read the file or
// write the directory, ErrCorrupt when the file is cut short, changed, or of an unknown version.
func Load(dir string) (*Device, error) { return load(dir, FileName) }

func load(dir, name string) (*Device, error) {
	path := filepath.Join(dir, name)
	data, err := readPrivate(dir, path)
	if err != nil {
		return nil, fmt.Errorf("identity: load %q: %w", path, err)
	}
	device, err := parseFile(data)
	if err != nil {
		return nil, fmt.Errorf("identity: load %q: %w: %w", path, ErrCorrupt, err)
	}
	return device, nil
}

// makeDir makes dir, or checks the one that is there.
func makeDir(dir string) error {
	_, err := os.Stat(dir)
	switch {
	case err == nil:
		return checkDir(dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// checkDir refuses a directory in which others could replace the identity. Reading it shows a name only.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); modesCount && mode&0o022 != 0 {
		return fmt.Errorf("%w: directory has mode %04o, others may write; chmod 700 %q", ErrPermissions, mode, dir)
	}
	return nil
}

// writeNew puts data at path as a whole or not at all, and never over something: a link fails where a rename would
// replace. Order: file on disk, name on disk.
func writeNew(dir, path string, data []byte) error {
	tmp, err := os.CreateTemp(dir, "."+FileName+".*") // 0600 whatever the umask
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Sync(); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return ErrExists
		}
		return err
	}
	if err := syncDir(dir); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// readPrivate reads path after checking the file it opened, not the one that may stand there a moment later.
func readPrivate(dir, path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place must not hang us
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrCorrupt)
	}
	if mode := info.Mode().Perm(); modesCount && mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: file has mode %04o, want 0600; chmod 600 %q", ErrPermissions, mode, path)
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrCorrupt, maxFileSize)
	}
	return data, nil
}
