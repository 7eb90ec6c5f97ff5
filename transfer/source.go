package transfer

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A Source is what is to be sent: files, and folders with what is in them, as they were when the Source was made. The files are opened
// one by one while they are sent; one that is not the same any more (size, modification time, inode) ends the transfer with
// [ErrChanged]. A Source serves one Send at a time.
type Source struct {
	m       *manifest
	roots   []string       // absolute path of each root
	inodes  []uint64       // of the entries
	renamed map[int][]byte // where entries are that have another name here, because theirs is not UTF-8
	skipped int
	without []string  // patterns of what is left out
	looked  time.Time // when NewSource was done
	busy    atomic.Bool
}

// justNow is how long after NewSource nobody looks at all files again before they are offered: what changes after the offer is noticed
// when it is sent in any case.
const justNow = time.Second

// NewSource looks at the files and folders at paths. A symbolic link that is named is followed and lends its name; one inside a folder
// is sent as a link when it leads to somewhere in the same folder. Devices, sockets, other links and the like are left out and counted.
// What is named and is missing, unreadable or a device is an [*Error] of kind ErrSource, before anybody has been asked anything.
func NewSource(paths ...string) (*Source, error) { return NewSourceWithout(nil, paths...) }

// NewSourceWithout is NewSource that leaves out what is inside a folder and matches a pattern of [path.Match]: by its name, or by its path
// below the folder that was named. What is left out so is not counted.
func NewSourceWithout(patterns []string, paths ...string) (*Source, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, &Error{Kind: ErrSource, By: Local, Detail: "the pattern " + strconv.Quote(p), Cause: err}
		}
	}
	s := &Source{without: patterns}
	var entries []Entry
	taken := map[string]bool{}
	for _, path := range paths {
		if path == "" {
			return nil, sourceError(fs.ErrNotExist)
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, sourceError(err)
		}
		name := offerName(filepath.Base(abs))
		for n := 1; taken[name] && n < maxTwins; n++ {
			name = numberedName(offerName(filepath.Base(abs)), n)
		}
		taken[name] = true
		s.roots = append(s.roots, abs)
		if entries, err = s.scan(entries, abs, name); err != nil {
			return nil, err
		}
	}
	if len(entries) == 0 {
		return nil, &Error{Kind: ErrSource, By: Local, Detail: "nothing to send"}
	}
	size := int64(0)
	for i := range entries {
		size += entries[i].Size
	}
	m, err := newManifest(entries, chunkLenFor(size))
	if err != nil {
		return nil, &Error{Kind: ErrSource, By: Local, Cause: err}
	}
	s.m, s.looked = m, time.Now()
	return s, nil
}

// sourceState is what a Source needs to be made again without looking at the files.
type sourceState struct {
	List     []byte         `json:"list"`
	ChunkLen int64          `json:"chunk_len"`
	Roots    [][]byte       `json:"roots"` // a path is bytes, not always UTF-8
	Inodes   []uint64       `json:"inodes"`
	Renamed  map[int][]byte `json:"renamed,omitempty"`
	Skipped  int            `json:"skipped"`
}

// Save writes the Source to path, for [LoadSource].
func (s *Source) Save(path string) error {
	st := sourceState{List: s.m.raw, ChunkLen: s.m.chunkLen, Inodes: s.inodes, Renamed: s.renamed, Skipped: s.skipped}
	for _, r := range s.roots {
		st.Roots = append(st.Roots, []byte(r))
	}
	raw, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return replaceFile(path, raw)
}

// LoadSource reads what Save wrote. The files are what they were then, or the transfer ends with ErrChanged.
func LoadSource(path string) (*Source, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, sourceError(err)
	}
	var st sourceState
	if err := json.Unmarshal(raw, &st); err != nil {
		return nil, sourceError(err)
	}
	m, err := parseManifest(st.List, countEntries(st.List), st.ChunkLen)
	if err == nil && (len(m.roots) != len(st.Roots) || len(m.entries) != len(st.Inodes)) {
		err = errors.New("lengths do not agree")
	}
	if err != nil {
		return nil, sourceError(err)
	}
	s := &Source{m: m, inodes: st.Inodes, renamed: st.Renamed, skipped: st.Skipped}
	for _, r := range st.Roots {
		s.roots = append(s.roots, string(r))
	}
	return s, nil
}

// Name is the name of the first file or folder.
func (s *Source) Name() string { return s.m.entries[0].Path }

// Size is how many bytes the files have.
func (s *Source) Size() int64 { return s.m.size }

// Entries returns what is offered; the caller does not change it.
func (s *Source) Entries() []Entry { return s.m.entries }

// Files is how many files there are.
func (s *Source) Files() int { return s.m.files() }

// Roots is how many files and folders were named.
func (s *Source) Roots() int { return len(s.roots) }

// RootPath is where the i-th file or folder that was named is on this side.
func (s *Source) RootPath(i int) string { return s.roots[i] }

// Skipped is how many things in the folders are not sent because they are no files, folders, or links that stay inside.
func (s *Source) Skipped() int { return s.skipped }

// Close lets go of the Source. It holds no files open.
func (s *Source) Close() error { return nil }

// Path returns where entry i is on this side.
func (s *Source) Path(i int) string {
	root := 0
	for root+1 < len(s.m.roots) && s.m.roots[root+1] <= i {
		root++
	}
	if own, ok := s.renamed[i]; ok {
		return string(own)
	}
	return s.guess(root, s.m.entries[i].Path)
}

// guess is where an entry below a root is when all names are what they are called.
func (s *Source) guess(root int, path string) string {
	_, rest, inside := strings.Cut(path, "/")
	if !inside {
		return s.roots[root]
	}
	return filepath.Join(s.roots[root], filepath.FromSlash(rest))
}

// open opens entry i, when it is still what was offered.
func (s *Source) open(i int) (*sourceFile, error) {
	file, err := openSource(s.Path(i), strings.Contains(s.m.entries[i].Path, "/"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, &Error{Kind: ErrChanged, By: Local, Detail: s.m.entries[i].Path, Cause: err}
	}
	if err != nil {
		return nil, sourceError(err)
	}
	if s.m.entries[i].Size <= blockSize {
		return file, nil // it is read at once, and looked at then
	}
	if err := s.check(file, i); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// fileState is what tells one version of a file from another.
type fileState struct {
	regular bool
	size    int64
	mod     int64 // Unix nanoseconds
	inode   uint64
}

// offered is what entry i was when it was looked at.
func (s *Source) offered(i int) fileState {
	return fileState{true, s.m.entries[i].Size, s.m.entries[i].Mod, s.inodes[i]}
}

// check reports whether an open file is still what was offered as entry i.
func (s *Source) check(file *sourceFile, i int) error {
	is, err := file.stat()
	if err != nil {
		return sourceError(err)
	}
	if is != s.offered(i) {
		return &Error{Kind: ErrChanged, By: Local, Detail: s.m.entries[i].Path}
	}
	return nil
}

// checkEnd is check after the last byte.
func (s *Source) checkEnd(file *sourceFile, i int) error {
	if err := s.check(file, i); err != nil || s.m.entries[i].Size > 0 {
		return err
	}
	// The size of a file in /proc is 0, whatever can be read from it.
	var beyond [1]byte
	if n, err := file.ReadAt(beyond[:], 0); n > 0 {
		return &Error{Kind: ErrChanged, By: Local, Detail: "there is more than its size says"}
	} else if !errors.Is(err, io.EOF) {
		return sourceError(err)
	}
	return nil
}

// checkAll looks at every file, without opening it: the answer to an offer may have taken hours.
func (s *Source) checkAll() error {
	justNow := s.looked.After(time.Now().Add(-justNow))
	for i := range s.m.entries {
		e := &s.m.entries[i]
		switch {
		case e.Kind != File:
		case e.Size == 0: // or so it says
			if err := s.checkEmpty(i); err != nil {
				return err
			}
		case !justNow:
			is, err := statSource(s.Path(i))
			if errors.Is(err, fs.ErrNotExist) {
				return &Error{Kind: ErrChanged, By: Local, Detail: e.Path, Cause: err}
			}
			if err != nil {
				return sourceError(err)
			}
			if is != s.offered(i) {
				return &Error{Kind: ErrChanged, By: Local, Detail: e.Path}
			}
		}
	}
	return nil
}

func (s *Source) checkEmpty(i int) error {
	file, err := s.open(i)
	if err != nil {
		return err
	}
	defer file.Close()
	return s.checkEnd(file, i)
}

func sourceError(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: ErrSource, By: Local, Cause: err}
}

func notRegular(path string, info fs.FileInfo) error {
	what := "not a regular file or a folder"
	if info.IsDir() {
		what = "a directory"
	}
	return &Error{Kind: ErrSource, By: Local, Detail: path + " is " + what}
}
