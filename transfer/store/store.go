// Package store keeps what a node knows of its transfers in one file that survives kill -9 and power cuts.
//
// It is go.etcd.io/bbolt behind a few verbs; the records are the caller's own JSON. One goroutine commits whatever has been handed over
// since its last commit, the newest record of each transfer only: a commit costs two fsyncs, however many changes are in it, and nobody
// waits for others to come. Only what changes a few times in a transfer's life belongs here: what changes with every chunk is in a
// transfer.Journal. The file is checked as a whole when it is opened. A damaged one is put aside under another name and begun anew;
// nothing else is removed.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Store is a live object, safe for concurrent use.
type Store struct {
	db   *bbolt.DB
	more chan struct{} // buffered: next is not nil, or closed is true
	over chan struct{} // closed when nothing is written any more

	mu     sync.Mutex // guards the fields below
	next   *batch     // what the next commit writes; nil when there is nothing
	closed bool
	failed func(error) // told of commits that failed; may be nil
}

var (
	records = []byte("transfers") // transfer id: record
	content = []byte("content")   // sha3-256 and transfer id: place of a file with that content
)

// lockWait is how long Open waits for another process to let go of the file.
const lockWait = time.Second

// A DamagedError says that a store could not be read, and where it is now. It comes with a store that is new and empty.
type DamagedError struct {
	Aside string
	Cause error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("store: damaged, kept as %s: %v", e.Aside, e.Cause)
}

// Unwrap returns what was wrong.
func (e *DamagedError) Unwrap() error { return e.Cause }

// Open opens the store at path, or makes it. With a *[DamagedError] there is a store all the same.
func Open(path string) (*Store, error) {
	db, err := open(path)
	if err == nil {
		return begin(db), nil
	}
	if errors.Is(err, berrors.ErrTimeout) || errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("store: %w", err)
	}
	aside, renamed := setAside(path)
	if renamed != nil {
		return nil, fmt.Errorf("store: %w", errors.Join(err, renamed))
	}
	db, again := open(path)
	if again != nil {
		return nil, fmt.Errorf("store: %w", again)
	}
	return begin(db), &DamagedError{Aside: aside, Cause: err}
}

// setAside gives the file a name of its own, and never replaces another.
func setAside(path string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.damaged-%d", path, n)
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return aside, os.Rename(path, aside)
		}
	}
}

// open checks and opens. What the check lets through may still make the library panic.
func open(path string) (db *bbolt.DB, err error) {
	if err := check(path); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			if db != nil {
				func() {
					defer func() { _ = recover() }()
					_ = db.Close()
				}()
			}
			db, err = nil, fmt.Errorf("%v", r)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(records)
		_, other := tx.CreateBucketIfNotExists(content)
		return errors.Join(err, other)
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// Each calls f with every record, in the order of the ids. f does not keep the record.
func (s *Store) Each(f func(id string, record []byte) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(records).ForEach(func(k, v []byte) error { return f(string(k), v) })
	})
}

// Content is where a file with a known sha3-256 is.
type Content struct {
	Sum   [32]byte
	ID    string // transfer
	Place []byte // the caller's own
}

// FindContent returns where a content is, as far as is known.
func (s *Store) FindContent(sum [32]byte) (list []Content, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(content).Cursor()
		for k, v := c.Seek(sum[:]); len(k) > len(sum) && [32]byte(k[:32]) == sum; k, v = c.Next() {
			list = append(list, Content{Sum: sum, ID: string(k[32:]), Place: append([]byte(nil), v...)})
		}
		return nil
	})
	return list, err
}

// ContentOf returns the contents of a transfer, as far as they are known. It reads all of them.
func (s *Store) ContentOf(id string) (list []Content, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(content).ForEach(func(k, v []byte) error {
			if len(k) > 32 && string(k[32:]) == id {
				list = append(list, Content{Sum: [32]byte(k[:32]), ID: id, Place: append([]byte(nil), v...)})
			}
			return nil
		})
	})
	return list, err
}

// Close writes what is left and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	s.wake()
	<-s.over
	if again {
		return nil
	}
	return s.db.Close()
}
