package dht

import (
	"sync/atomic"
	"testing"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/krpc"
)

// A node that does not answer costs a put its time-out, and nobody who looks for the item: those that answered have it meanwhile. Here the
// silent one comes to itself only when another has the item, which it never would if the put waited for it.
func TestSilentNodesDoNotHoldAPutUp(t *testing.T) {
	t.Parallel()
	live := listen(t)
	token := "token"
	var puts atomic.Int32
	slow := fakeNode(t, func(q krpc.Msg) *krpc.Return {
		r := &krpc.Return{ID: krpc.ID{1}}
		switch q.Q {
		case "put":
			puts.Add(1)
		case "get":
			if _, err := live.store.Get(bep44.Target(q.A.Target)); err != nil {
				return nil
			}
			r.Token = &token
		}
		return r
	})
	n := listen(t, live.Addr().String(), slow.String())
	await(t, n.Joined(), "join")
	eventually(t, "both took it", func() bool { // on a busy machine the first try's resends may all come too early
		key, _ := newKey(t)
		stored, err := n.Put(t.Context(), key, 5, []byte("value"))
		return err == nil && stored == Stored{Nodes: 2, Local: true, Seq: 5}
	})
	if puts.Load() == 0 {
		t.Error("the slow node was never written to")
	}
	// Whom the put had written to ahead has to take a higher number too, when a later answer asks for one.
	key, public := newKey(t)
	if _, err := live.Put(t.Context(), key, 100, []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if stored, err := n.Put(t.Context(), key, 50, []byte("mine")); err != nil || stored.Seq != 101 {
		t.Errorf("stored %+v, %v; want number 101", stored, err)
	}
	if item, err := live.Get(t.Context(), public, 0, nil); err != nil || string(item.Value) != "mine" {
		t.Errorf("got %q, %v", item.Value, err)
	}
}
