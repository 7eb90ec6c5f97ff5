//go:build !unix

package mux

import (
	"errors"
	"os"
)

// reopen is for systems with descriptors; elsewhere files are copied.
func reopen(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
