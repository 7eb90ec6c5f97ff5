package dht

import (
	"context"
	"crypto/sha1"
	"sync"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// An Item is a mutable item of the DHT whose signature was checked.
type Item struct {
	Seq   int64
	Value []byte // the stored string's bytes
}

// Get looks for the item of the Ed25519 public key, and returns the one with the highest sequence number above since
// (0: any). It asks until the nodes nearest to the key have answered, or until enough says so of an item found; enough
// may be nil, is called from several goroutines, and also for this node's own copy first. ErrNotFound: there is none, or none above since.
// ErrNoNodes: nobody answered. An item found so far is returned even when ctx ends.
func (n *Node) Get(ctx context.Context, public [32]byte, since int64, enough func(Item) bool) (Item, error) {
	if n.ctx.Err() != nil {
		return Item{}, ErrClosed
	}
	n.stats.gets.Add(1)
	s := newSearch(public, since, enough)
	if local, err := n.store.Get(s.target); err == nil {
		s.offer(Item{Seq: local.Seq, Value: stringIn(bencode.MustMarshal(local.V))})
	}
	answered := 0
	if !s.satisfied() {
		answered = n.seek(ctx, s)
	}
	item, ok := s.best()
	switch {
	case ok:
		n.stats.found.Add(1)
		return item, nil
	case ctx.Err() != nil:
		return Item{}, ctx.Err()
	case answered == 0:
		return Item{}, ErrNoNodes
	}
	return Item{}, ErrNotFound
}

// seek walks to the search's target and returns how many nodes answered. Where it was walked to before, it begins with
// the nearest nodes, and asks others only if they are nearer.
func (n *Node) seek(ctx context.Context, s *search) int {
	w := walk{target: s.target, ask: n.asks(s), enough: s.enough}
	if w.start, w.useful = n.nearby.of(s.target); w.start == nil {
		w.start = n.start()
	}
	closest, answered := n.walk(ctx, w)
	if !s.satisfied() && ctx.Err() == nil { // a walk to its end
		n.nearby.learn(s.target, closest)
	}
	return answered
}

// asks returns how a walk asks for the item: each answer is offered to the search.
func (n *Node) asks(s *search) func(context.Context, mainline.Addr) mainline.QueryResult {
	return func(ctx context.Context, to mainline.Addr) mainline.QueryResult {
		args := krpc.MsgArgs{Target: s.target}
		if s.since > 0 {
			args.Seq = &s.since // BEP 44: no value unless it is newer
		}
		res := n.query(ctx, to, "get", args)
		if r := res.Reply.R; r != nil {
			if item, ok := itemIn(r, s.public); ok {
				s.offer(item)
			}
		}
		return res
	}
}

// itemIn returns the item in an answer if it is there and signed by public. Any field may be missing: the library's own
// reader dies of an answer without seq.
func itemIn(r *krpc.Return, public [32]byte) (Item, bool) {
	if r.Seq == nil || r.K != public || len(r.V) == 0 || len(r.V) > maxValue {
		return Item{}, false
	}
	body := stringIn(r.V)
	if body == nil || !bep44.Verify(public[:], nil, *r.Seq, r.V, r.Sig[:]) {
		return Item{}, false
	}
	return Item{Seq: *r.Seq, Value: body}, true
}

// stringIn returns the bytes of a bencoded string, or nil when b is anything else.
func stringIn(b []byte) []byte {
	v, rest, ok := scan(b, 0)
	if !ok || len(rest) != 0 || v.kind != 's' {
		return nil
	}
	return append([]byte{}, v.body...)
}

// search collects what a walk finds.
type search struct {
	public [32]byte
	target bep44.Target
	since  int64
	suits  func(Item) bool
	enough chan struct{} // closed once suits said so

	mu    sync.Mutex // guards the fields below
	item  Item
	found bool
	ended bool
}

func newSearch(public [32]byte, since int64, suits func(Item) bool) *search {
	return &search{public: public, target: sha1.Sum(public[:]), since: since, suits: suits, enough: make(chan struct{})}
}

func (s *search) offer(item Item) {
	if item.Seq <= s.since && s.since > 0 || item.Value == nil {
		return
	}
	ended := s.suits != nil && s.suits(item)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.found || item.Seq > s.item.Seq {
		s.item, s.found = item, true
	}
	if ended && !s.ended {
		s.ended = true
		close(s.enough)
	}
}

func (s *search) satisfied() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *search) best() (Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.item, s.found
}
