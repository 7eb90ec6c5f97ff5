package transfer

import (
	"io/fs"
	"os"
)

func openSource(path string, _ bool) (*os.File, error) { return os.Open(path) }

// inodeOf is not known here: size and time must do.
func inodeOf(fs.FileInfo) uint64 { return 0 }
