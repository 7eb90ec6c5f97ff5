package uml

import (
	"bufio"
	"fmt"
	"io"
	"path"
)

// archive writes the initial file system: an uncompressed cpio archive of the format "newc", which the kernel unpacks.
type archive struct {
	out  *bufio.Writer
	at   int
	node int
	dirs map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{out: bufio.NewWriter(w), dirs: map[string]bool{".": true, "/": true}}
}

const (
	kindDir     = 0o040000
	kindRegular = 0o100000
	kindDevice  = 0o020000
)

// file adds a file, and the directories it is in.
func (a *archive) file(name string, mode uint32, content []byte) {
	a.parents(name)
	a.entry(name, kindRegular|mode, 0, 0, content)
}

// device adds a character device.
func (a *archive) device(name string, major, minor int) {
	a.parents(name)
	a.entry(name, kindDevice|0o600, major, minor, nil)
}

func (a *archive) parents(name string) {
	dir := path.Dir(name)
	if a.dirs[dir] {
		return
	}
	a.parents(dir)
	a.dirs[dir] = true
	a.entry(dir, kindDir|0o755, 0, 0, nil)
}

func (a *archive) entry(name string, mode uint32, major, minor int, content []byte) {
	a.node++
	a.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.node, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0))
	a.write(append([]byte(name), 0))
	a.pad()
	a.write(content)
	a.pad()
}

func (a *archive) pad() { a.write(make([]byte, -a.at&3)) }

func (a *archive) write(b []byte) {
	a.at += len(b)
	if a.err == nil {
		_, a.err = a.out.Write(b)
	}
}

func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	if a.err == nil {
		a.err = a.out.Flush()
	}
	return a.err
}
