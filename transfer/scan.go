package transfer

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// scan adds what is at path, under the given name.
func (s *Source) scan(entries []Entry, path, name string) ([]Entry, error) {
	info, err := os.Stat(path) // a link that is named is followed
	if err != nil {
		return nil, sourceError(err)
	}
	switch {
	case info.IsDir():
		return s.scanFolder(entries, path, name, info)
	case !info.Mode().IsRegular():
		return nil, notRegular(path, info)
	}
	// Asked whether it can be read before anybody is asked to take it.
	file, err := os.Open(path)
	if err != nil {
		return nil, sourceError(err)
	}
	file.Close()
	return s.addEntry(entries, Entry{Kind: File, Path: name, Size: info.Size()}, path, info)
}

func (s *Source) addEntry(entries []Entry, e Entry, path string, info fs.FileInfo) ([]Entry, error) {
	if len(entries) >= MaxEntries {
		return nil, &Error{Kind: ErrSource, By: Local, Detail: fmt.Sprintf("more than %d files and folders", MaxEntries)}
	}
	e.Mode, e.Mod = info.Mode().Perm(), info.ModTime().UnixNano()
	s.inodes = append(s.inodes, inodeOf(info))
	if strings.Contains(e.Path, "/") && s.guess(len(s.roots)-1, e.Path) != path {
		if s.renamed == nil {
			s.renamed = map[int][]byte{}
		}
		s.renamed[len(entries)] = []byte(path)
	}
	return append(entries, e), nil
}

// scanFolder adds a folder and what is in it, the entries of each folder in the order of their names.
func (s *Source) scanFolder(entries []Entry, path, name string, info fs.FileInfo) ([]Entry, error) {
	entries, err := s.addEntry(entries, Entry{Kind: Folder, Path: name}, path, info)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return nil, sourceError(err)
	}
	taken := make(map[string]bool, len(list))
	for _, d := range list {
		info, err := d.Info()
		if os.IsNotExist(err) {
			continue // gone since it was listed
		}
		if err != nil {
			return nil, sourceError(err)
		}
		own := innerName(d.Name())
		for n := 1; taken[own] && n < maxTwins; n++ { // two names that differed only in what cannot be written
			own = numberedName(innerName(d.Name()), n)
		}
		taken[own] = true
		if s.excluded(d.Name(), name) {
			continue
		}
		if entries, err = s.scanInner(entries, filepath.Join(path, d.Name()), name+"/"+own, info); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// excluded tells whether what is called name in a folder, that is offered as folder, is to be left out.
func (s *Source) excluded(name, folder string) bool {
	_, below, _ := strings.Cut(folder+"/"+name, "/")
	return slices.ContainsFunc(s.without, func(pattern string) bool {
		byName, _ := path.Match(pattern, name)
		byPath, _ := path.Match(pattern, below)
		return byName || byPath
	})
}

func (s *Source) scanInner(entries []Entry, path, name string, info fs.FileInfo) ([]Entry, error) {
	if len(name) > maxPath || strings.Count(name, "/") >= maxDepth {
		s.skipped++
		return entries, nil
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return s.addEntry(entries, Entry{Kind: File, Path: name, Size: info.Size()}, path, info)
	case mode.IsDir():
		return s.scanFolder(entries, path, name, info)
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err == nil && len(target) <= maxPath && staysInside(name, target) {
			return s.addEntry(entries, Entry{Kind: Link, Path: name, Target: target}, path, info)
		}
	}
	s.skipped++
	return entries, nil
}

// innerName is offerName for what is inside a folder.
func innerName(name string) string {
	name = strings.ToValidUTF8(name, "_")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, name)
}
