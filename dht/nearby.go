package dht

import (
	"sync"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/dht/v2/types"
)

// maxNearby is how many targets' neighbourhoods are remembered: those of all polled slots of 1,600 contacts, at 400
// bytes each 1.6 MB.
const maxNearby = 4096

// nearby remembers the nodes nearest to a target that was walked to, so that looking there again costs 8 to 10 queries
// instead of 20 to 40. Polls are most of what a device sends. The zero value is ready.
type nearby struct {
	mu    sync.Mutex // guards the field below
	nodes map[krpc.ID][]types.AddrMaybeId
}

// of returns the nodes to begin with, and which others are nearer than those; nil and nil when a walk has to begin at
// the table.
func (n *nearby) of(target krpc.ID) (start []types.AddrMaybeId, nearer func(krpc.NodeInfo) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	start = n.nodes[target]
	if start == nil {
		return nil, nil
	}
	to := target.Int160()
	farthest := start[len(start)-1].Id.Value.Distance(to) // they are in order
	return start, func(node krpc.NodeInfo) bool {
		return node.ID.Int160().Distance(to).Cmp(farthest) < 0
	}
}

// learn remembers where a walk arrived. One that found few nodes forgets: they have gone, or the DHT is so small that
// the table has them all.
func (n *nearby) learn(target krpc.ID, closest []near) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(closest) < bucketK {
		delete(n.nodes, target)
		return
	}
	if n.nodes == nil || len(n.nodes) >= maxNearby {
		n.nodes = map[krpc.ID][]types.AddrMaybeId{}
	}
	list := make([]krpc.NodeInfo, len(closest))
	for i, node := range closest {
		list[i] = krpc.NodeInfo{ID: node.id.AsByteArray(), Addr: node.addr.KRPC()}
	}
	n.nodes[target] = types.AddrMaybeIdSliceFromNodeInfoSlice(list)
}
