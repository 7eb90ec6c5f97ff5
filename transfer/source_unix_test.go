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

// TestReadError: a file that opens and cannot be read ends the transfer on both sides, and says whose disk it is.
func TestReadError(t *testing.T) {
	src, err := NewSource("/sys/class/net/lo/speed") // 4 KiB, it says; a read is EINVAL
	if err != nil {
		t.Skip("SKIPPED, a read error is not tested: no such file: ", err)
	}
	defer src.Close()
	if _, err := os.ReadFile("/sys/class/net/lo/speed"); err == nil {
		t.Skip("SKIPPED, a read error is not tested: this system can read the speed of lo")
	}
	a, b := memPipe("")
	dir := openDir(t)
	sent := send(t.Context(), a, src, SendOptions{})
	_, err = receive(t.Context(), b, dir, AcceptOptions{})
	wantKind(t, "receiver", err, ErrSource, Remote)
	err = (<-sent).err
	wantKind(t, "sender", err, ErrSource, Local)
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("the sender is told %v, not why", err)
	}
	wantEmpty(t, dir)
}

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
