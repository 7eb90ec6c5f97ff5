package secretfile

import (
	"fmt"
	"io/fs"
	"os"
)

// PermissionError says that a file is open to others.
type PermissionError struct {
	Path string
	Mode fs.FileMode
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("it is open to others (mode %#o): chmod 600 %s", e.Mode, e.Path)
}

// Open opens the file, and looks at what it opened, not at what stands there a moment later. The error is the system's or a
// *PermissionError. It may be a pipe.
func Open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if mode := info.Mode().Perm(); !openToOwnerOnly(info) {
		f.Close()
		return nil, &PermissionError{path, mode}
	}
	return f, nil
}
