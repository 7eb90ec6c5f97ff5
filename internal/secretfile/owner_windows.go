package secretfile

import "io/fs"

// openToOwnerOnly holds for every file: a mode says nothing on Windows, where a user's folders are closed to other users by their lists
// of access, which files inherit.
func openToOwnerOnly(fs.FileInfo) bool { return true }
