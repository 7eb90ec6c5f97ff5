package transfer

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"
)

// rename never replaces. The names are single elements and relative to the open
// directory, so they lead nowhere else.
func (d *Dir) rename(from, to string) error {
	at := int(d.self.Fd())
	err := unix.Renameat2(at, from, at, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // this file system, this kernel
		return d.linkName(from, to)
	}
	return err
}

// free returns how many bytes an ordinary user may still write, and false when the
// file system does not say.
func (d *Dir) free() (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(d.self.Fd()), &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	if s.Bsize <= 0 || s.Bavail > uint64(math.MaxInt64/s.Bsize) {
		return math.MaxInt64, true
	}
	return int64(s.Bavail) * s.Bsize, true
}
