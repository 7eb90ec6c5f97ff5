package store

import (
	"fmt"
	"io/fs"

	"go.etcd.io/bbolt"
)

// A batch is what one commit writes. What waits in it is bounded by the transfers there are: a newer record replaces the older one.
type batch struct {
	records map[string][]byte // nil: to be deleted
	content []Content
	over    chan struct{} // closed when it is on the disk, or cannot be
	err     error         // why not
}

var errClosed = fmt.Errorf("store: %w", fs.ErrClosed)

func begin(db *bbolt.DB) *Store {
	s := &Store{db: db, more: make(chan struct{}, 1), over: make(chan struct{})}
	go s.commitLoop()
	return s
}

func (s *Store) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// commitLoop writes batches until the store is closed and the last one is written.
func (s *Store) commitLoop() {
	defer close(s.over)
	for range s.more {
		s.mu.Lock()
		b, closed, failed := s.next, s.closed, s.failed
		s.next = nil
		s.mu.Unlock()
		if b != nil {
			if len(b.records)+len(b.content) > 0 {
				b.err = s.commit(b)
			}
			if b.err != nil && failed != nil {
				failed(b.err)
			}
			close(b.over)
		}
		if closed {
			return
		}
	}
}

func (s *Store) commit(b *batch) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for id, record := range b.records {
			var err error
			if record == nil {
				err = tx.Bucket(records).Delete([]byte(id))
			} else {
				err = tx.Bucket(records).Put([]byte(id), record)
			}
			if err != nil {
				return err
			}
		}
		for _, c := range b.content {
			if err := tx.Bucket(content).Put(append(c.Sum[:], c.ID...), c.Place); err != nil {
				return err
			}
		}
		return nil
	})
}

// enter adds to the next batch and returns what waits for it.
func (s *Store) enter(add func(*batch)) (wait func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() error { return errClosed }
	}
	if s.next == nil {
		s.next = &batch{records: map[string][]byte{}, over: make(chan struct{})}
	}
	b := s.next
	add(b)
	s.wake()
	return func() error {
		<-b.over
		return b.err
	}
}

// OnFailure has f called with the error of each commit that failed, for those who do not wait. It replaces the one before.
func (s *Store) OnFailure(f func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = f
}

// Begin hands over a transfer's record, which replaces the one it had, and does not wait; what it returns waits until the record, or a
// newer one, is on the disk.
func (s *Store) Begin(id string, record []byte) (wait func() error) {
	return s.enter(func(b *batch) { b.records[id] = append([]byte{}, record...) })
}

// Put keeps a transfer's record, instead of the one it had. It is on the disk when Put returns.
func (s *Store) Put(id string, record []byte) error { return s.Begin(id, record)() }

// Delete forgets a transfer.
func (s *Store) Delete(id string) error {
	return s.enter(func(b *batch) { b.records[id] = nil })()
}

// PutContent notes where contents are.
func (s *Store) PutContent(list []Content) error {
	return s.enter(func(b *batch) { b.content = append(b.content, list...) })()
}

// Sync waits until everything handed over so far is on the disk.
func (s *Store) Sync() error { return s.enter(func(*batch) {})() }
