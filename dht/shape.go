package dht

import (
	"math/bits"

	"github.com/anacrolix/dht/v2/int160"
	"github.com/anacrolix/dht/v2/krpc"
)

// shape is how many nodes the table has up to each bucket. Bucket i holds the nodes whose id shares its first i bits
// with ours.
type shape struct {
	upTo [161]int
}

// sharedBits returns how many leading bits two ids have in common, 160 when they are the same.
func sharedBits(a, b int160.T) int {
	for i, x := range a.Bytes() {
		if d := x ^ b.Bytes()[i]; d != 0 {
			return 8*i + bits.LeadingZeros8(d)
		}
	}
	return 160
}

// survey notes the table's shape for answers to queries. Those are given while the library holds its lock, when it can
// not be asked.
func (n *Node) survey() {
	s := &shape{}
	for _, node := range n.server.Nodes() {
		s.upTo[sharedBits(n.self, node.ID.Int160())]++
	}
	for i := 1; i < len(s.upTo); i++ {
		s.upTo[i] += s.upTo[i-1]
	}
	n.shape.Store(s)
}

// enoughNear is how many nodes the library must find by itself for its answer to be left alone.
const enoughNear = 4

// nearTarget returns the id near which the library should look for the nodes of an answer. It searches the target's
// bucket and those farther from us, but not the nearer ones, whose nodes are the next best: in a small DHT it would
// often name nobody. Our own id makes it search all of them.
func (n *Node) nearTarget(target krpc.ID) krpc.ID {
	s := n.shape.Load()
	if s == nil || s.upTo[160] <= bucketK || s.upTo[sharedBits(n.self, target.Int160())] < enoughNear {
		return n.self.AsByteArray()
	}
	return target
}
