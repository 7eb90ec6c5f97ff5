package dht

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/int160"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// Stored says what became of a Put.
type Stored struct {
	Nodes int   // other nodes that took the item
	Local bool  // this node keeps it too, being one of the nearest
	Seq   int64 // with this sequence number
}

// Put stores value (at most 996 bytes) under the key, on the nodes nearest to it and here if this is one of them. The
// sequence number is seq, or one more than the highest that the nodes have, except when they have this very value: then
// it is written again as it is, which keeps it from expiring. The error is ErrNotStored when no node took it (but a
// private node that is alone keeps it itself, for others to come), ErrPinned when nothing can follow what is there.
func (n *Node) Put(ctx context.Context, key ed25519.PrivateKey, seq int64, value []byte) (Stored, error) {
	if n.ctx.Err() != nil {
		return Stored{}, ErrClosed
	}
	n.stats.puts.Add(1)
	stored, err := n.put(ctx, key, seq, value)
	n.stats.stored.Add(uint64(stored.Nodes))
	if err != nil {
		n.stats.putsFailed.Add(1)
	}
	return stored, err
}

func (n *Node) put(ctx context.Context, key ed25519.PrivateKey, seq int64, value []byte) (Stored, error) {
	encoded := bencode.MustMarshal(value)
	if len(encoded) > maxValue {
		return Stored{}, fmt.Errorf("dht: put: value has %d bytes encoded, BEP 44 allows %d", len(encoded), maxValue)
	}
	s := newSearch([32]byte(key.Public().(ed25519.PublicKey)), 0, nil)
	if local, err := n.store.Get(s.target); err == nil {
		s.offer(Item{Seq: local.Seq, Value: stringIn(bencode.MustMarshal(local.V))})
	}
	// A node that has gone costs its time-out. Those that are there have the item meanwhile, unless they have one that goes before it.
	target := int160.FromByteArray(s.target)
	var ahead []netip.AddrPort
	var writing sync.WaitGroup
	defer writing.Wait()
	first := seq
	closest, _ := n.walk(ctx, walk{target: s.target, start: n.start(), ask: n.asks(s), after: n.pace.early, early: func(answered []near) {
		if next, err := sequence(s, first, value); err == nil && next == first {
			writing.Go(func() { _, ahead, _ = n.spread(ctx, signed(key, first, value), answered, n.isNear(target, answered)) })
		}
	}})
	writing.Wait()
	if err := ctx.Err(); err != nil {
		return Stored{}, err
	}
	seq, err := sequence(s, seq, value)
	if err != nil {
		return Stored{}, err
	}
	if seq != first {
		ahead = nil // they have to learn the other number
	}
	rest := slices.DeleteFunc(slices.Clone(closest), func(node near) bool { return slices.Contains(ahead, addrPortOf(node.addr)) })
	stored, _, err := n.spread(ctx, signed(key, seq, value), rest, n.isNear(target, closest))
	if have := len(closest) - len(rest); have > 0 {
		stored.Nodes, err = stored.Nodes+have, nil
	}
	return stored, err
}

// sequence returns the number to write value with, after what was found.
func sequence(s *search, seq int64, value []byte) (int64, error) {
	old, ok := s.best()
	switch {
	case !ok || old.Seq < seq:
		return seq, nil
	case bytes.Equal(old.Value, value):
		return old.Seq, nil
	case old.Seq == math.MaxInt64:
		return 0, ErrPinned
	}
	return old.Seq + 1, nil
}

func signed(key ed25519.PrivateKey, seq int64, value []byte) bep44.Put {
	public := [32]byte(key.Public().(ed25519.PublicKey))
	item := bep44.Put{V: string(value), K: &public, Seq: seq}
	copy(item.Sig[:], bep44.Sign(key, nil, seq, bencode.MustMarshal(value)))
	return item
}

// spread writes the item to these nodes, all at once, and waits for all; and here. It returns those that took it.
func (n *Node) spread(ctx context.Context, item bep44.Put, closest []near, here bool) (stored Stored, took []netip.AddrPort, err error) {
	stored.Seq = item.Seq
	if here {
		stored.Local = n.store.putOwn(item.ToItem()) == nil
	}
	errs := make([]error, len(closest))
	var wg sync.WaitGroup
	for i, node := range closest {
		wg.Go(func() { errs[i] = n.putTo(ctx, node, item) })
	}
	wg.Wait()
	var last error
	for i, err := range errs {
		if err != nil {
			last = err
			continue
		}
		took = append(took, addrPortOf(closest[i].addr))
	}
	stored.Nodes = len(took)
	switch {
	case stored.Nodes > 0:
		return stored, took, nil
	case ctx.Err() != nil:
		return stored, nil, ctx.Err()
	case last != nil:
		return stored, nil, fmt.Errorf("%w: %w", ErrNotStored, last)
	case n.cfg.Mode == Private && stored.Local:
		return stored, nil, nil
	}
	return stored, nil, fmt.Errorf("%w: %w", ErrNotStored, ErrNoNodes)
}

// isNear reports whether this node is among the nearest to target itself.
func (n *Node) isNear(target int160.T, closest []near) bool {
	if len(closest) < bucketK {
		return true
	}
	own := n.self.Distance(target)
	for _, node := range closest {
		if own.Cmp(node.id.Distance(target)) < 0 {
			return true
		}
	}
	return false
}

func (n *Node) putTo(ctx context.Context, node near, item bep44.Put) error {
	if node.token == "" {
		return fmt.Errorf("dht: node %s gave no token", node.addr)
	}
	res := n.query(ctx, node.addr, "put", krpc.MsgArgs{K: *item.K, Seq: &item.Seq, Sig: item.Sig, Token: node.token, V: item.V})
	if res.Err != nil {
		return fmt.Errorf("dht: put to %s: %w", node.addr, res.Err)
	}
	if e := res.Reply.Error(); e != nil {
		return fmt.Errorf("dht: put to %s: %w", node.addr, *e)
	}
	return nil
}
