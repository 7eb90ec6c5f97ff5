package transfer

import (
	"errors"
	"math"
	"os"

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

// space returns how many bytes an ordinary user may still write, how many the file system has in all, and false when it
// does not say.
func (d *Dir) space() (free, total int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(d.self.Fd()), &s); err != nil || s.Blocks == 0 {
		return 0, 0, false
	}
	return blocksOf(s.Bavail, s.Bsize), blocksOf(s.Blocks, s.Bsize), true
}

// blocksOf is n blocks in bytes.
func blocksOf(n uint64, size int64) int64 {
	if size <= 0 || n > uint64(math.MaxInt64/size) {
		return math.MaxInt64
	}
	return int64(n) * size
}

// forgetCached has the next read of a file come from the disk, as far as the kernel follows.
func forgetCached(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// fewFiles is how many files are synced one by one; for more, the whole file system is asked at once.
const fewFiles = 16

// sync makes the part durable.
func (p *part) sync() error {
	if p.m.single() || p.m.files() <= fewFiles {
		return p.syncEach()
	}
	return unix.Syncfs(int(p.dir.self.Fd()))
}
