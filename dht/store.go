package dht

import (
	"bytes"
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/torrent/bencode"
)

// Limits of the store: what this node keeps for others. 8,192 items of 1,000 bytes and some 400 of bookkeeping are
// 11.5 MB. A private network's pair of contacts keeps up to six items an hour for two hours: 680 pairs.
const (
	maxItems   = 8192
	itemExpiry = 2 * time.Hour // BEP 44: not announced again for two hours
)

// owner is who wrote an item: the /24 or /48 it came from, or the zero prefix for this node itself.
type owner = netip.Prefix

// store keeps BEP 44 items for the network. It replaces the library's, which has no limits and whose compare-and-swap
// compares the wrong numbers. When it is full, the owner with the most items loses its oldest: whoever floods the store
// pushes out its own. Safe for concurrent use; it never blocks.
type store struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	items  map[bep44.Target]*entry
	owners map[owner]*list.List // of *entry, oldest first
	writer owner                // of the put the library is about to make, see setWriter
	stored int                  // bytes of values and salts
}

type entry struct {
	item    bep44.Item
	target  bep44.Target
	owner   owner
	written time.Time
	size    int
	place   *list.Element
}

func newStore(now func() time.Time) *store {
	return &store{now: now, items: map[bep44.Target]*entry{}, owners: map[owner]*list.List{}}
}

// ownerOf maps an address to the block that is likely to be one party's.
func ownerOf(a netip.Addr) owner {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

// setWriter says who makes the next Put. The library asks OnQuery and then stores, both in one goroutine that holds its
// lock, so nothing comes between; a Put of our own names its writer itself.
func (s *store) setWriter(o owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer = o
}

// Put takes an item that the library has checked: size, signature, and its sequence number against what Get returned.
// It checks again under the lock, since the library asks and stores in two steps.
func (s *store) Put(i *bep44.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(i, s.writer)
}

// putOwn takes an item this node writes.
func (s *store) putOwn(i *bep44.Item) error {
	if err := bep44.NewWrapper(stamp{}, itemExpiry).Put(i); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(i, owner{})
}

// stamp is a store that keeps nothing. The library writes the time into an item on the way to its store and believes an
// item without one to have expired long ago; there is no other way to write it.
type stamp struct{}

func (stamp) Get(bep44.Target) (*bep44.Item, error) { return nil, bep44.ErrItemNotFound }
func (stamp) Put(*bep44.Item) error                 { return nil }
func (stamp) Del(bep44.Target) error                { return nil }

func (s *store) putLocked(i *bep44.Item, by owner) error {
	target := i.Target()
	// Kept encoded: decoded, a thousand bytes of empty lists are 20 KB of slices.
	encoded := bencode.Bytes(bencode.MustMarshal(i.V))
	if len(encoded) > maxValue || len(i.Salt) > maxSalt {
		return bep44.ErrValueFieldTooBig
	}
	next := *i
	next.V = encoded
	old := s.items[target]
	if old != nil && s.expired(old) {
		s.removeLocked(old)
		old = nil
	}
	if old != nil {
		if err := follows(&old.item, &next); err != nil {
			return err
		}
		s.removeLocked(old)
	} else if len(s.items) >= maxItems {
		s.evictLocked()
	}
	e := &entry{item: next, target: target, owner: by, written: s.now(), size: len(encoded) + len(next.Salt)}
	if s.owners[by] == nil {
		s.owners[by] = list.New()
	}
	e.place = s.owners[by].PushBack(e)
	s.items[target] = e
	s.stored += e.size
	return nil
}

// follows checks that an item may replace another one; both are as they are kept. BEP 44: the sequence number grows, or all stays the same; with
// cas, it must be the number that is replaced.
func follows(old, next *bep44.Item) error {
	switch {
	case next.IsMutable() && next.Cas != 0 && next.Cas != old.Seq:
		return bep44.ErrCasHashMismatched
	case next.Seq < old.Seq:
		return bep44.ErrSequenceNumberLessThanCurrent
	case next.Seq == old.Seq && !bytes.Equal(next.V.(bencode.Bytes), old.V.(bencode.Bytes)):
		return bep44.ErrSequenceNumberLessThanCurrent
	}
	return nil
}

// Get returns a copy of the item. Its Cas is zero, since the library would compare the next put's with it.
func (s *store) Get(t bep44.Target) (*bep44.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.items[t]
	if e == nil {
		return nil, bep44.ErrItemNotFound
	}
	if s.expired(e) {
		s.removeLocked(e)
		return nil, bep44.ErrItemNotFound
	}
	item := e.item
	item.Cas = 0
	return &item, nil
}

// Del forgets an item. The library calls it for what its own clock says has expired.
func (s *store) Del(t bep44.Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.items[t]; e != nil {
		s.removeLocked(e)
	}
	return nil
}

// size returns how many items and bytes of values are kept.
func (s *store) size() (items, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items), s.stored
}

func (s *store) expired(e *entry) bool { return s.now().Sub(e.written) > itemExpiry }

func (s *store) removeLocked(e *entry) {
	delete(s.items, e.target)
	s.stored -= e.size
	l := s.owners[e.owner]
	l.Remove(e.place)
	if l.Len() == 0 {
		delete(s.owners, e.owner)
	}
}

// evictLocked makes room for one item: the oldest of the owner that has most. It looks at every owner, at most 8,192.
func (s *store) evictLocked() {
	var most *list.List
	for _, l := range s.owners {
		if most == nil || l.Len() > most.Len() {
			most = l
		}
	}
	s.removeLocked(most.Front().Value.(*entry))
}

// sweep forgets what has expired. Lists are in order of writing, so it looks at little more than it removes.
func (s *store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.owners {
		for l.Len() > 0 {
			e := l.Front().Value.(*entry)
			if !s.expired(e) {
				break
			}
			s.removeLocked(e) // deletes the owner with its last item, which range allows
		}
	}
}
