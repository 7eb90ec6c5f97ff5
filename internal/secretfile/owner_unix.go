//go:build unix

package secretfile

import (
	"io/fs"
	"os"
	"syscall"
)

func openToOwnerOnly(info fs.FileInfo) bool {
	owner := os.Geteuid()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	return private(info.Mode().Perm(), owner, os.Geteuid())
}

// private is the rule of the package comment.
func private(mode fs.FileMode, owner, self int) bool {
	if owner == 0 && self != 0 {
		return mode&0o037 == 0
	}
	return mode&0o077 == 0
}
