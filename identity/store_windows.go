package identity

// modesCount says that a file's mode tells who can read it. On Windows a user's folders are closed to other users by their lists of access.
const modesCount = false

// syncDir does nothing: a folder's handle cannot be flushed, NTFS keeps its names in a journal.
func syncDir(string) error { return nil }
