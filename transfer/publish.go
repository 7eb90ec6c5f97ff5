package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"traverse.internal/core/treehash"
)

// finalName is the n-th choice for a root's name.
func (p *part) finalName(i, n int, opt AcceptOptions) string {
	name := p.m.entries[i].Path
	if opt.Name != "" && len(p.m.roots) == 1 {
		name = opt.Name
	}
	return numberedName(SafeName(name), n)
}

// findNamed finds the roots that got their names before this side was interrupted.
func (p *part) findNamed(opt AcceptOptions) {
	for i, pub := range p.journal.publish {
		if int(i) >= len(p.m.entries) || p.rootOf(int(i)) != int(i) {
			continue
		}
		root, name := p.at(int(i))
		if _, err := root.Lstat(name); err == nil {
			continue
		}
		final := p.finalName(int(i), int(pub.twin), opt)
		if info, err := p.dir.root.Lstat(final); err == nil && inodeOf(info) == pub.inode {
			p.named[int(i)] = final
		}
	}
}

// publish gives each root that is taken its name, and returns them: the first free one of "name", "name (1)", …, unless what is there is to be
// replaced, or to stay.
func (p *part) publish(opt AcceptOptions) ([]string, error) {
	names := make([]string, 0, len(p.m.roots))
	for n, i := range p.m.roots {
		name, ok := p.named[i]
		if !ok && p.takes(i) {
			var err error
			if name, err = p.publishRoot(i, p.rootEnd(n), opt); err != nil {
				return nil, err
			}
			p.named[i] = name
		}
		if p.takes(i) {
			names = append(names, name)
		}
	}
	if !opt.NoSync {
		if err := p.dir.self.Sync(); err != nil {
			return nil, storageError(err)
		}
	}
	return names, nil
}

func (p *part) publishRoot(i, end int, opt AcceptOptions) (string, error) {
	root, from := p.at(i)
	info, err := root.Lstat(from)
	if err != nil {
		return "", storageError(err)
	}
	if p.root != nil {
		from = p.name + "/" + from
	}
	for n := range maxTwins {
		try := p.finalName(i, n, opt)
		there, err := p.dir.root.Lstat(try)
		if err == nil && (n > 0 || opt.Existing == Rename || there.IsDir() != info.IsDir()) {
			continue
		}
		if err == nil && info.IsDir() {
			return try, p.merge(i, end, try, opt)
		}
		if err == nil && opt.Existing == Skip { // it has come since we looked
			return try, nil
		}
		replace := err == nil
		if err = p.journal.naming(uint32(i), publication{inodeOf(info), uint32(n)}); err != nil {
			return "", storageError(err)
		}
		if replace {
			err = p.dir.root.Rename(from, try)
		} else {
			err = p.dir.rename(from, try)
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", storageError(err)
		}
		return try, nil
	}
	return "", &Error{Kind: ErrStorage, By: Local, Detail: "too many files of that name"}
}

// merge puts what is taken of a root into the folder that has its name already. Files and links go one by one, so that a crash in between leaves
// whole files; those that are where they belong come again then.
func (p *part) merge(root, end int, final string, opt AcceptOptions) error {
	var made []int
	for i := root + 1; i < end; i++ {
		if !p.takes(i) {
			continue
		}
		e := &p.m.entries[i]
		from, to := p.name+"/"+e.Path, final+e.Path[len(p.m.entries[root].Path):]
		there, err := p.dir.root.Lstat(to)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
		case err == nil && there.IsDir() != (e.Kind == Folder):
			return &Error{Kind: ErrStorage, By: Local, Detail: "a file and a folder of one name: " + printable(e.Path, 120)}
		case e.Kind == Folder && err == nil:
		case e.Kind == Folder:
			made = append(made, i)
			err = p.dir.root.Mkdir(to, e.Mode|0o700)
		case err == nil && opt.Existing == Skip: // it has come since we looked
		default:
			err = p.dir.root.Rename(from, to)
		}
		if err != nil {
			return storageError(err)
		}
	}
	for _, i := range slices.Backward(made) {
		e := &p.m.entries[i]
		to, when := final+e.Path[len(p.m.entries[root].Path):], time.Unix(0, e.Mod)
		if err := p.dir.root.Chtimes(to, when, when); err != nil {
			return storageError(err)
		}
	}
	return nil
}

// readBack reads what has been stored from the disk, where the system can be told to, and compares it with what came.
func (p *part) readBack(ctx context.Context) error {
	h := treehash.New(nil)
	for i := range p.m.entries {
		if _, ok := p.named[p.rootOf(i)]; ok || p.m.entries[i].Kind != File || !p.takes(i) {
			continue
		}
		if err := p.readBackFile(ctx, i, h); err != nil {
			return err
		}
	}
	return nil
}

func (p *part) readBackFile(ctx context.Context, i int, h *treehash.Hash) error {
	root, name := p.at(i)
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil // the sender's mode does not let its owner read it
	}
	if err != nil {
		return storageError(err)
	}
	defer file.Close()
	forgetCached(file)
	for n := p.m.first[i]; n < p.m.first[i+1]; n++ {
		if ctx.Err() != nil {
			return streamError(ctx, ctx.Err(), "reading back")
		}
		at, length := p.m.span(i, n)
		h.Reset()
		if got, err := io.Copy(h, io.NewSectionReader(file, at, length)); err != nil {
			return storageError(err)
		} else if got < length || Digest(h.Sum()) != p.journal.sums[n] {
			p.journal.forget()
			return &Error{Kind: ErrIntegrity, By: Local, Detail: "read back from the disk: " + printable(p.m.entries[i].Path, 120)}
		}
	}
	return nil
}

// published ends a run that went well.
func (p *part) published() {
	p.redeem(p.left)
	p.close()
	_ = p.dir.root.RemoveAll(p.name)
}
