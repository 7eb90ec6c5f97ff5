package configcmd

import (
	"io/fs"
	"os"
)

// giveTo does nothing: files belong to who made them.
func giveTo(*os.File, fs.FileInfo) error { return nil }
