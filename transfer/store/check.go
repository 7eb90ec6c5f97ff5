package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
)

// The library maps the file and follows its pages on goroutines of its own: a wrong one ends the process. So the pages are walked here
// first, with every bound checked. What is checked is bbolt's format version 2, in the byte order of this machine.
const (
	magic   = 0xED0CDAED
	version = 2

	branchPage = 0x01
	leafPage   = 0x02

	pageHeader = 16 // id, flags, count, overflow
	metaLen    = 64
	element    = 16
	subBucket  = 1 // flag of a leaf's element
	noFreelist = ^uint64(0)
)

// maxFile bounds what is read to be checked: 2^20 transfers and contents of 1 KiB are below it.
const maxFile = 1 << 30

type checker struct {
	raw      []byte
	page     int
	pages    uint64
	followed map[uint64]bool
}

// check reports what is wrong with the file at path; one that is missing or empty is as it should be.
func check(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%d bytes", info.Size())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c := checker{raw: raw, followed: map[uint64]bool{}}
	root, err := c.meta()
	if err != nil {
		return err
	}
	return c.walk(root, 0)
}

// meta finds the newer of the two valid heads, as the library does.
func (c *checker) meta() (root uint64, err error) {
	var newest uint64
	size := os.Getpagesize()
	for _, at := range []int{0, size} {
		if len(c.raw) < at+pageHeader+metaLen {
			continue
		}
		m := c.raw[at+pageHeader:]
		u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
		sum := fnv.New64a()
		sum.Write(m[:metaLen-8])
		if u32(m) != magic || u32(m[4:]) != version || u64(m[56:]) != sum.Sum64() || int(u32(m[8:])) != size {
			continue
		}
		if tx := u64(m[48:]); newest == 0 || tx >= newest {
			newest, root, c.pages = tx, u64(m[16:]), u64(m[40:])
			if free := u64(m[32:]); free != noFreelist && free >= c.pages {
				return 0, errors.New("its list of free pages is outside")
			}
		}
	}
	if root == 0 {
		return 0, errors.New("it has no valid head")
	}
	c.page = size
	if c.pages > uint64(len(c.raw)/size) {
		return 0, fmt.Errorf("%d pages in %d bytes", c.pages, len(c.raw))
	}
	return root, nil
}

// maxDeep bounds how deep pages nest; a tree of 1 GiB has 5 levels at most, in two buckets.
const maxDeep = 32

func (c *checker) walk(id uint64, depth int) error {
	if id < 2 || id >= c.pages || depth > maxDeep || c.followed[id] {
		return fmt.Errorf("page %d is where none can be", id)
	}
	c.followed[id] = true
	p := c.raw[int(id)*c.page:]
	overflow := uint64(binary.NativeEndian.Uint32(p[12:]))
	if binary.NativeEndian.Uint64(p) != id || overflow >= c.pages-id {
		return fmt.Errorf("page %d is not one", id)
	}
	return c.elements(p[:(1+int(overflow))*c.page], depth)
}

// elements follows those of a page, or of a bucket that is inside one.
func (c *checker) elements(p []byte, depth int) error {
	if len(p) < pageHeader {
		return errors.New("a bucket is cut")
	}
	flags, count := binary.NativeEndian.Uint16(p[8:]), int(binary.NativeEndian.Uint16(p[10:]))
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 || len(p) < pageHeader+count*element {
		return errors.New("a page is not one")
	}
	var last []byte
	for i := range count {
		e := p[pageHeader+i*element:]
		u32 := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(e[at:])) }
		pos, key, value := u32(4), u32(8), u32(12)
		if flags == branchPage {
			pos, key, value = u32(0), u32(4), 0
		}
		if pos+key+value > uint64(len(e)) {
			return errors.New("an entry is outside its page")
		}
		k := e[pos : pos+key]
		if i > 0 && string(k) <= string(last) {
			return errors.New("entries are out of order")
		}
		last = k
		var err error
		switch {
		case flags == branchPage:
			err = c.walk(binary.NativeEndian.Uint64(e[8:]), depth+1)
		case u32(0) == subBucket:
			err = c.bucket(e[pos+key:pos+key+value], depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) bucket(v []byte, depth int) error {
	if len(v) < 16 {
		return errors.New("a bucket is cut")
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return c.walk(root, depth+1)
	}
	return c.elements(v[16:], depth+1)
}
