package transfer

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Existing is what becomes of something that is to be stored under a name that is taken. A folder never takes a file's place, nor a file a
// folder's: that gets a free name, or refuses the offer where it is inside a folder.
type Existing int

// The values of Existing. The first never replaces anything.
const (
	Rename    Existing = iota // it gets the first free name of "name (1)", "name (2)", …
	Overwrite                 // it takes the place of a file; what comes in a folder that is there is put into that
	Skip                      // what is there stays, and what would replace it is not taken
)

// maxOnly bounds the patterns of one acceptance.
const maxOnly = 64

// CheckPatterns names the first thing that is wrong with patterns of [AcceptOptions].Only.
func CheckPatterns(patterns []string) error {
	if len(patterns) > maxOnly {
		return errors.New("transfer: too many patterns")
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return &Error{Kind: ErrName, By: Local, Detail: "the pattern " + printable(p, 40), Cause: err}
		}
	}
	return nil
}

// Chosen returns how many of the entries patterns choose: each that has the name, or the path, with or without its root's name; what is in a
// folder that is chosen; and the folders that lead there, which are not counted.
func Chosen(entries []Entry, patterns []string) (count int) {
	for _, is := range choose(entries, patterns) {
		if is {
			count++
		}
	}
	return count
}

// choose tells of each entry whether patterns choose it, or a folder that it is in. Without patterns all are.
func choose(entries []Entry, patterns []string) []bool {
	chosen, byPath := make([]bool, len(entries)), map[string]bool{}
	for i := range entries {
		e := &entries[i]
		folder, name := splitPath(e.Path)
		_, below, _ := strings.Cut(e.Path, "/")
		chosen[i] = len(patterns) == 0 || byPath[folder] || slices.ContainsFunc(patterns, func(p string) bool {
			for _, what := range []string{name, below, e.Path} {
				if is, _ := path.Match(p, what); is && what != "" {
					return true
				}
			}
			return false
		})
		if chosen[i] && e.Kind == Folder {
			byPath[e.Path] = true
		}
	}
	return chosen
}

// choose decides what is taken of the offer, and what is left at the sender. What is there under its name already, from an earlier run of this
// transfer, counts as taken.
func (p *part) choose(opt AcceptOptions, selects bool) error {
	p.taken = choose(p.m.entries, opt.Only)
	if !slices.Contains(p.taken, true) {
		return &Error{Kind: ErrDeclined, By: Local, Detail: "nothing of it was chosen"}
	}
	for root := range p.m.roots {
		if err := p.chooseRoot(p.m.roots[root], p.rootEnd(root), opt); err != nil {
			return err
		}
	}
	// The folders that lead to what is taken.
	needed := map[string]bool{}
	for i := len(p.m.entries) - 1; i >= 0; i-- {
		e := &p.m.entries[i]
		p.taken[i] = p.taken[i] || needed[e.Path]
		if folder, _ := splitPath(e.Path); p.taken[i] {
			needed[folder] = true
		}
	}
	if !slices.Contains(p.taken, false) {
		p.taken = nil
		return nil
	}
	if !selects {
		if len(opt.Only) > 0 {
			return &Error{Kind: ErrVersion, By: Local, Detail: "the sender gives all or nothing"}
		}
		p.taken = nil // what is there already comes, and is not put in its place
		return nil
	}
	p.unwanted = make(bitmap, (p.m.chunks()+63)/64)
	for i := range p.m.entries {
		for n := p.m.first[i]; n < p.m.first[i+1] && !p.taken[i]; n++ {
			p.unwanted.set(n)
			p.unwantedChunks++
			p.journal.drop(n)
		}
		if !p.taken[i] {
			p.unwantedBytes += p.m.entries[i].Size
			if p.m.of(i) > 0 { // those of no bytes nobody counts: the sender cannot
				p.unwantedFiles++
			}
		}
	}
	return nil
}

// rootEnd is the entry behind the last one of a root.
func (p *part) rootEnd(root int) int {
	if root+1 < len(p.m.roots) {
		return p.m.roots[root+1]
	}
	return len(p.m.entries)
}

// chooseRoot looks at what is under the final names of a root and of what is in it.
func (p *part) chooseRoot(root, end int, opt AcceptOptions) error {
	if _, ok := p.named[root]; ok || opt.Existing == Rename {
		return nil
	}
	final := p.finalName(root, 0, opt)
	there, err := p.dir.root.Lstat(final)
	if err != nil || there.IsDir() != (p.m.entries[root].Kind == Folder) {
		return nil // nothing is in the way, or what is there stays and this one gets another name
	}
	if !there.IsDir() {
		p.taken[root] = p.taken[root] && opt.Existing != Skip
		return nil
	}
	for i := root + 1; i < end; i++ {
		e := &p.m.entries[i]
		there, err := p.dir.root.Lstat(final + e.Path[len(p.m.entries[root].Path):])
		switch {
		case !p.taken[i] || errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, syscall.ENOTDIR) && opt.Existing == Skip:
			p.taken[i] = false // a file is where its folder would be
		case err != nil:
			return storageError(err)
		case opt.Existing == Skip:
			p.taken[i] = e.Kind == Folder && there.IsDir()
		case there.IsDir() != (e.Kind == Folder):
			return &Error{Kind: ErrStorage, By: Local, Detail: "a file and a folder of one name: " + printable(e.Path, 120)}
		}
	}
	return nil
}

// takes tells whether entry i is taken.
func (p *part) takes(i int) bool { return p.taken == nil || p.taken[i] }

// wanted is how many chunks are to be here in the end.
func (p *part) wanted() uint32 { return p.m.chunks() - p.unwantedChunks }
