package dht

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/torrent/bencode"
)

// stepClock is a clock that a test moves.
type stepClock struct{ at time.Time }

func (c *stepClock) now() time.Time { return c.at }

func newClock() *stepClock { return &stepClock{time.Unix(1_800_000_000, 0)} }

func itemOf(t *testing.T, key ed25519.PrivateKey, seq, cas int64, value any) *bep44.Item {
	t.Helper()
	i, err := bep44.NewItem(value, nil, seq, cas, key)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestStoreBehindTheLibrarysChecks stores by way of the library's wrapper, as the node does.
func TestStoreBehindTheLibrarysChecks(t *testing.T) {
	key, _ := newKey(t)
	s := newStore(newClock().now)
	w := bep44.NewWrapper(s, itemExpiry)
	for _, step := range []struct {
		name     string
		seq, cas int64
		value    any
		want     error
	}{
		{"first", 5, 0, "a", nil},
		{"the same again", 5, 0, "a", nil},
		{"the same number, another value", 5, 0, "b", bep44.ErrSequenceNumberLessThanCurrent},
		{"a lower number", 4, 0, "b", bep44.ErrSequenceNumberLessThanCurrent},
		{"a higher number", 6, 0, "b", nil},
		{"a swap of another number than is stored", 7, 5, "c", bep44.ErrCasHashMismatched},
		{"a swap of the number that is stored", 7, 6, "c", nil},
		{"no swap after a swap", 8, 0, "d", nil},
		{"a swap after no swap", 9, 8, "e", nil},
		{"a nested value", 10, 0, []any{"x", int64(1), map[string]any{"a": "b"}}, nil},
	} {
		err := w.Put(itemOf(t, key, step.seq, step.cas, step.value))
		if !errors.Is(err, step.want) {
			t.Fatalf("%s: got %v, want %v", step.name, err, step.want)
		}
		if step.want != nil {
			continue
		}
		target := itemOf(t, key, step.seq, 0, step.value).Target()
		got, err := w.Get(target)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if g, want := string(bencode.MustMarshal(got.V)), string(bencode.MustMarshal(step.value)); g != want || got.Seq != step.seq {
			t.Errorf("%s: stored %q with %d, want %q with %d", step.name, g, got.Seq, want, step.seq)
		}
		if err := bep44.Check(got); err != nil {
			t.Errorf("%s: what is given out does not verify: %v", step.name, err)
		}
	}
	if items, _ := s.size(); items != 1 {
		t.Errorf("%d items, want 1", items)
	}
}

// TestOwnItemsOutliveTheLibrarysExpiry: the library deletes what carries no time of its own.
func TestOwnItemsOutliveTheLibrarysExpiry(t *testing.T) {
	key, _ := newKey(t)
	s := newStore(time.Now)
	own := itemOf(t, key, 1, 0, "own")
	if err := s.putOwn(own); err != nil {
		t.Fatal(err)
	}
	w := bep44.NewWrapper(s, itemExpiry)
	if _, err := w.Get(own.Target()); err != nil {
		t.Errorf("the library gives it out: %v", err)
	}
}

func TestStoreForgets(t *testing.T) {
	key, _ := newKey(t)
	clock := newClock()
	s := newStore(clock.now)
	first := itemOf(t, key, 5, 0, "a")
	if err := s.Put(first); err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(itemExpiry)
	if _, err := s.Get(first.Target()); err != nil {
		t.Errorf("forgotten too early: %v", err)
	}
	clock.at = clock.at.Add(time.Second)
	if _, err := s.Get(first.Target()); !errors.Is(err, bep44.ErrItemNotFound) {
		t.Errorf("got %v after expiry, want %v", err, bep44.ErrItemNotFound)
	}

	// An expired item does not stand in the way of a lower sequence number, read or not.
	if err := s.Put(first); err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(itemExpiry + time.Second)
	if err := s.Put(itemOf(t, key, 1, 0, "b")); err != nil {
		t.Errorf("got %v, want the item stored anew", err)
	}
	clock.at = clock.at.Add(itemExpiry + time.Second)
	s.sweep()
	if items, size := s.size(); items != 0 || size != 0 || len(s.owners) != 0 {
		t.Errorf("%d items of %d bytes and %d owners after the sweep, want none", items, size, len(s.owners))
	}
}

func TestAFullStoreTakesFromWhoeverHasMost(t *testing.T) {
	s := newStore(newClock().now)
	modest, flood := ownerOf(netip.MustParseAddr("198.51.100.1")), ownerOf(netip.MustParseAddr("192.0.2.7"))
	put := func(o owner, name string) bep44.Target {
		i := itemOf(t, nil, 0, 0, name)
		s.setWriter(o)
		if err := s.Put(i); err != nil {
			t.Fatal(err)
		}
		return i.Target()
	}
	kept := put(modest, "kept")
	own := itemOf(t, nil, 0, 0, "our own")
	if err := s.putOwn(own); err != nil {
		t.Fatal(err)
	}
	first := put(flood, "flood 0")
	for i := 1; i < maxItems+100; i++ {
		put(flood, fmt.Sprint("flood ", i))
	}
	if items, _ := s.size(); items != maxItems {
		t.Errorf("%d items, want the limit, %d", items, maxItems)
	}
	for name, target := range map[string]bep44.Target{"a modest writer's": kept, "our own": own.Target()} {
		if _, err := s.Get(target); err != nil {
			t.Errorf("%s item was pushed out", name)
		}
	}
	if _, err := s.Get(first); err == nil {
		t.Error("the flood's oldest item is still there")
	}
}

func TestOwners(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.254", true},
		{"192.0.2.1", "192.0.3.1", false},
		{"2001:db8:1:2::1", "2001:db8:1:ffff::1", true},
		{"2001:db8:1::1", "2001:db8:2::1", false},
	} {
		if got := ownerOf(netip.MustParseAddr(c.a)) == ownerOf(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s are one owner: %v, want %v", c.a, c.b, got, c.same)
		}
	}
}
