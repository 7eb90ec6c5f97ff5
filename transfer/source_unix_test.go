//go:build !windows

package transfer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestBadSources: what cannot be sent says why. Its fifo, device and error numbers are Unix's.
func TestBadSources(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("nowhere", at("dangling")), os.Symlink("loop", at("loop")), os.Symlink(dir, at("link to a directory"))); err != nil {
		t.Fatal(err)
	}
	bad := map[string]error{
		at("missing"):  fs.ErrNotExist,
		at("dangling"): fs.ErrNotExist,
		at("loop"):     syscall.ELOOP,
		at("fifo"):     nil,
		"/dev/null":    nil,
		"":             fs.ErrNotExist,
		"a\x00b":       syscall.EINVAL,
	}
	if os.Getuid() == 0 {
		t.Log("as root every file is readable: the case of a forbidden one is left out")
	} else {
		if err := os.WriteFile(at("forbidden"), nil, 0o000); err != nil {
			t.Fatal(err)
		}
		bad[at("forbidden")] = fs.ErrPermission
	}
	for path, cause := range bad {
		_, err := NewSource(path)
		wantKind(t, "NewSource of "+path, err, ErrSource, Local)
		if cause != nil && !errors.Is(err, cause) {
			t.Errorf("NewSource(%q): %v, want %v", path, err, cause)
		}
	}
}
