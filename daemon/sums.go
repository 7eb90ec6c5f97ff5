package daemon

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"traverse.internal/transfer/store"
)

// sums computes the sha3-256 of what has been sent and received: 400 MB/s a core, so it is one goroutine's, after the transfer, and no
// transfer waits for it. What it found is in the store, and a file that is asked for again is checked against it.
type sums struct {
	mu   sync.Mutex // guards the field below
	todo []string   // transfer ids; no longer than the table
	more chan struct{}
}

// Hashing in the background keeps a core busy for as long as it goes on, and Go asks the network for news only where a core has nothing else to do, or
// after 10 ms: on a machine whose cores all hash, each step of a connection waits for that. So it rests after each block: 1.3 ms of work, then one
// of rest (the least that a timer takes), and longer while transfers run, which are what people wait for.
const (
	sumBlock    = 512 << 10
	sumRest     = time.Millisecond
	sumRestBusy = 4 * time.Millisecond
)

func newSums() *sums { return &sums{more: make(chan struct{}, 1)} }

func (s *sums) add(id string) {
	s.mu.Lock()
	s.todo = append(s.todo, id)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *sums) next(ctx context.Context) (string, bool) {
	for {
		s.mu.Lock()
		if len(s.todo) > 0 {
			id := s.todo[0]
			s.todo = s.todo[1:]
			s.mu.Unlock()
			return id, true
		}
		s.mu.Unlock()
		select {
		case <-s.more:
		case <-ctx.Done():
			return "", false
		}
	}
}

// sumLoop hashes one transfer after the other.
func (d *Daemon) sumLoop() {
	for {
		id, ok := d.sums.next(d.ctx)
		if !ok {
			return
		}
		if e := d.table.byID(id); e != nil {
			d.sumTransfer(e)
		}
	}
}

func (d *Daemon) sumTransfer(e *entry) {
	shown, keep := d.table.record(e)
	var roots []string
	switch {
	case shown.Direction == "send":
		for _, p := range keep.Paths {
			roots = append(roots, string(p))
		}
	case len(shown.Names) > 0:
		roots = shown.Names
	default:
		roots = []string{shown.File}
	}
	var found []store.Content
	buf := make([]byte, sumBlock)
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if d.ctx.Err() != nil {
				return fs.SkipAll
			}
			if err != nil || entry.IsDir() {
				return nil
			}
			if sum, ok := d.sumFile(path, buf, d.restSumming); ok {
				place, _ := json.Marshal([]byte(path))
				found = append(found, store.Content{Sum: sum, ID: shown.ID, Place: place})
			}
			return nil
		})
	}
	if d.ctx.Err() != nil || len(found) == 0 {
		return
	}
	if len(found) == 1 && shown.Entries == 1 {
		d.table.reenter(e, func(e *entry) { e.shown.SHA3 = hex.EncodeToString(found[0].Sum[:]) })
	}
	_ = d.store.PutContent(found) // the store tells of it
}

// restSumming lets everything else go on for a moment.
func (d *Daemon) restSumming() {
	rest := sumRest
	if d.table.busy() {
		rest = sumRestBusy
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.ctx.Done():
	}
}

// sumFile hashes a file that does not change meanwhile, through buf. rest is called before each block; nil where somebody waits for the digest.
func (d *Daemon) sumFile(path string, buf []byte, rest func()) (sum [32]byte, ok bool) {
	before, err := os.Stat(path)
	if err != nil || !before.Mode().IsRegular() {
		return sum, false
	}
	f, err := os.Open(path)
	if err != nil {
		return sum, false
	}
	defer f.Close()
	h := sha3.New256()
	if _, err := io.CopyBuffer(h, untilDone{d.ctx, f, rest}, buf); err != nil {
		return sum, false
	}
	after, err := f.Stat()
	if err != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		return sum, false
	}
	return [32]byte(h.Sum(nil)), true
}

// untilDone reads until the context ends.
type untilDone struct {
	ctx  context.Context
	r    io.Reader
	rest func() // called before each read; nil: nothing
}

func (u untilDone) Read(p []byte) (int, error) {
	if u.rest != nil {
		u.rest()
	}
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
