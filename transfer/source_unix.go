//go:build !windows

package transfer

import (
	"io/fs"
	"os"
	"syscall"
)

// openSource opens a file to be read; inside a folder no link is followed. The name may mean a FIFO by now, that nobody writes to: O_NONBLOCK.
func openSource(path string, inside bool) (*os.File, error) {
	flags := os.O_RDONLY | syscall.O_NONBLOCK
	if inside {
		flags |= syscall.O_NOFOLLOW
	}
	return os.OpenFile(path, flags, 0)
}

func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
