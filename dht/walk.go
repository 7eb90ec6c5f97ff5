package dht

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/int160"
	nearest "github.com/anacrolix/dht/v2/k-nearest-nodes"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/dht/v2/traversal"
	"github.com/anacrolix/dht/v2/types"
)

const (
	bucketK  = 8   // BEP 5: an item lives on the 8 nodes nearest to its target
	alpha    = 8   // queries of a walk in flight
	maxAsked = 128 // queries of one walk; 20 to 40 find the nearest of millions of nodes. What a hostile node adds ends here.
	maxTold  = 8   // nodes taken from one answer and family, as the protocol says
)

// near is a node that answered a walk.
type near struct {
	addr  mainline.Addr
	id    int160.T
	token string // for a put; may be empty
}

// walk is a search for the nodes nearest to a target.
type walk struct {
	target krpc.ID
	start  []types.AddrMaybeId                                              // where it begins
	ask    func(ctx context.Context, to mainline.Addr) mainline.QueryResult // sends one query
	useful func(krpc.NodeInfo) bool                                         // which of the nodes told of to ask; nil: all
	enough <-chan struct{}                                                  // closed to end the walk early; may be nil

	// early is called once, with the nearest that have answered by then, where the walk still waits for others after so long; nil: never.
	early func([]near)
	after time.Duration
}

// answers are the nodes that have answered a walk.
type answers struct {
	target int160.T

	mu   sync.Mutex // guards the field below
	list []near     // at most maxAsked
}

func (a *answers) add(n near) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, n)
}

// nearest returns the bucketK nearest of them.
func (a *answers) nearest() []near {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.Clone(a.list)
	slices.SortFunc(list, func(x, y near) int { return x.id.Distance(a.target).Cmp(y.id.Distance(a.target)) })
	return list[:min(len(list), bucketK)]
}

// walk asks ever nearer nodes until the nearest have answered, enough is closed, or ctx or the node ends. It returns
// the nearest that answered, and how many did altogether. When it returns nothing of it is left running.
func (n *Node) walk(ctx context.Context, w walk) ([]near, int) {
	if len(w.start) == 0 {
		return nil, 0
	}
	var asked, answered atomic.Int32
	said := answers{target: int160.FromByteArray(w.target)}
	var d doubt
	op := traversal.Start(traversal.OperationInput{
		Target: w.target, Alpha: alpha, K: bucketK, NodeFilter: n.walkable,
		DoQuery: func(ctx context.Context, addr krpc.NodeAddr) (out traversal.QueryResult) {
			from := unmapped(netip.AddrPortFrom(ipOf(addr), uint16(addr.Port)))
			if d.skips(from) {
				n.stats.doubted.Add(1)
				return out
			}
			if asked.Add(1) > maxAsked {
				return out
			}
			r := w.ask(ctx, mainline.NewAddr(addr.UDP())).Reply.R
			if r == nil {
				d.silent(from)
				return out
			}
			nodes, nodes6 := w.told(r.Nodes), w.told(r.Nodes6)
			d.tell(from, addrsOf(nodes, nodes6))
			answered.Add(1)
			token := ""
			if r.Token != nil {
				token = *r.Token
			}
			if w.early != nil {
				said.add(near{addr: mainline.NewAddr(addr.UDP()), id: int160.FromByteArray(r.ID), token: token})
			}
			return traversal.QueryResult{
				ResponseFrom: &krpc.NodeInfo{Addr: addr, ID: r.ID}, ClosestData: token,
				Nodes: nodes, Nodes6: nodes6,
			}
		},
	})
	added := op.AddNodes(w.start)
	var late <-chan time.Time
	if w.early != nil {
		timer := time.NewTimer(w.after)
		defer timer.Stop()
		late = timer.C
	}
	for ended := added == 0; !ended; {
		select {
		case <-op.Stalled():
			// The operation may signal a stall that it noticed before the nodes were added: then nothing was asked.
			ended = asked.Load() > 0
		case <-late:
			w.early(said.nearest())
		case <-w.enough:
			ended = true
		case <-ctx.Done():
			ended = true
		case <-n.ctx.Done():
			ended = true
		}
	}
	op.Stop()
	<-op.Stopped()
	var closest []near
	op.Closest().Range(func(e nearest.Elem) {
		token, _ := e.Data.(string)
		closest = append(closest, near{addr: mainline.NewAddr(e.Addr.UDP()), id: e.ID.Int160(), token: token})
	})
	return closest, int(answered.Load())
}

func ipOf(a krpc.NodeAddr) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.IP)
	return ip.Unmap()
}

func addrsOf(lists ...[]krpc.NodeInfo) (out []netip.AddrPort) {
	for _, list := range lists {
		for _, node := range list {
			out = append(out, netip.AddrPortFrom(ipOf(node.Addr), uint16(node.Addr.Port)))
		}
	}
	return out
}

// told returns the nodes of an answer that are to be asked.
func (w walk) told(list []krpc.NodeInfo) []krpc.NodeInfo {
	list = list[:min(maxTold, len(list))]
	if w.useful == nil {
		return list
	}
	return slices.DeleteFunc(list, func(node krpc.NodeInfo) bool { return !w.useful(node) })
}

// walkable reports whether a walk may ask this node.
func (n *Node) walkable(node types.AddrMaybeId) bool {
	addr := unmapped(node.Addr.AddrPort)
	if !n.cfg.Mode.allowsNode(addr) || node.Id.Ok && node.Id.Value == n.self {
		return false
	}
	return n.server.TraversalNodeFilter(node) && !n.avoid.skip(time.Now(), addr)
}

// start returns where walks begin: the table, and the bootstrap nodes as long as the table is thin.
func (n *Node) start() []types.AddrMaybeId {
	nodes := n.server.Nodes()
	list := types.AddrMaybeIdSliceFromNodeInfoSlice(nodes)
	if len(nodes) < bucketK {
		list = append(list, n.bootstrapNodes()...)
	}
	return list
}

func (n *Node) bootstrapNodes() []types.AddrMaybeId {
	addrs := n.bootstrap.Load()
	if addrs == nil {
		return nil
	}
	var list []types.AddrMaybeId
	for _, a := range *addrs {
		list = append(list, types.AddrMaybeId{Addr: krpc.NodeAddrPort{AddrPort: a}})
	}
	return list
}

// query asks one node and notes whether it answered.
func (n *Node) query(ctx context.Context, to mainline.Addr, q string, args krpc.MsgArgs) mainline.QueryResult {
	n.stats.queriesOut.Add(1)
	args.Want = []krpc.Want{krpc.WantNodes}
	addr := addrPortOf(to)
	if addr.Addr().Is6() {
		args.Want = []krpc.Want{krpc.WantNodes6} // one family only: an answer with both does not fit one packet
	}
	res := n.server.Query(ctx, to, q, mainline.QueryInput{MsgArgs: args, NumTries: n.pace.tries})
	switch {
	case errors.Is(res.Err, mainline.TransactionTimeout):
		n.stats.timeouts.Add(1)
		n.avoid.failed(time.Now(), addr, n.pace.avoid)
		n.unanswered.Add(1)
	case res.Err == nil:
		n.unanswered.Store(0)
	}
	return res
}

func addrPortOf(a mainline.Addr) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.IP())
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port()))
}
