package transfer

import (
	"io/fs"
	"os"
)

// A sourceFile is an open file of a Source.
type sourceFile struct{ *os.File }

func openSource(path string, _ bool) (*sourceFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &sourceFile{f}, nil
}

// share returns the file again, for a stream to read.
func (f *sourceFile) share() (*os.File, error) { return os.Open(f.Name()) }

func (f *sourceFile) stat() (fileState, error) { return stateOf(f.Stat()) }

// statSource looks at a file without opening it.
func statSource(path string) (fileState, error) { return stateOf(os.Stat(path)) }

func stateOf(info fs.FileInfo, err error) (fileState, error) {
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.Mode().IsRegular(), info.Size(), info.ModTime().UnixNano(), inodeOf(info)}, nil
}

// inodeOf is not known here: size and time must do.
func inodeOf(fs.FileInfo) uint64 { return 0 }
