package transfer

import (
	"errors"
	"os"
	"time"
)

// An outFile is the file of a part that is being written.
type outFile struct {
	*os.File
	root *os.Root
	name string
}

// openOut opens the file of entry i, or makes it. No link on the way to it leads out of the part.
func (p *part) openOut(i int) (*outFile, error) {
	root, name := p.at(i)
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY, p.m.entries[i].Mode|0o600)
	if err != nil {
		return nil, err
	}
	return &outFile{f, root, name}, nil
}

// finish gives a complete file its size, mode and time.
func (f *outFile) finish(e *Entry) error {
	info, err := f.Stat()
	if err == nil && info.Size() > e.Size { // what an earlier version of it had
		err = f.Truncate(e.Size)
	}
	when := time.Unix(0, e.Mod)
	return errors.Join(err, f.root.Chtimes(f.name, when, when))
}
