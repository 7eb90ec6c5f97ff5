package dht

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

const (
	resolveTimeout = 5 * time.Second
	maxBootstrap   = 64               // addresses kept, of all the names together
	lonelyAfter    = 4                // queries in a row that nobody answered: look for new nodes
	wakePause      = 10 * time.Second // between two looks that strangers' queries cause, when looking brings nothing
	silentPause    = 5 * time.Second  // between two tries of a private bootstrap node that does not answer
)

// joinLoop keeps the node in the DHT: it asks the bootstrap nodes until somebody answers, again and again when nobody
// does any more, and looks around ever more seldom once somebody does: nodes that start together find each other in the
// second or third look. A node that others bootstrap from learns of them when they ask it; their queries wake it, so
// that it asks them back and can name them to the next one.
func (n *Node) joinLoop() {
	pause, gap := n.pace.joinMin, n.pace.joinMin
	good, alone := 0, true
	for n.ctx.Err() == nil {
		answered := n.join(n.ctx)
		last := time.Now()
		most := n.pace.joinMax
		if answered > 0 {
			n.markJoined()
			most = n.pace.refresh
			if alone {
				pause = n.pace.joinMin
			}
		}
		alone = answered == 0
		wait := min(pause, most)
		pause = min(2*pause, most)

		gap = min(2*gap, wakePause)
		if now := n.server.Stats().GoodNodes; now != good {
			good, gap = now, n.pace.joinMin
		}
		n.store.sweep()
		n.waitToJoin(last, wait, gap)
	}
}

// waitToJoin returns after wait, or earlier when there is a reason to look for nodes, but not before gap has passed
// since last.
func (n *Node) waitToJoin(last time.Time, wait, gap time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	tick := time.NewTicker(min(gap, time.Second))
	defer tick.Stop()
	woken := false
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-timer.C:
			return
		case <-n.wake:
			woken = true
		case <-tick.C:
		}
		n.survey()
		since := time.Since(last)
		if since >= gap && (n.unanswered.Load() >= lonelyAfter || woken && n.thin()) {
			return
		}
		if since >= silentPause && n.bootstrapSilent() {
			return
		}
	}
}

// thin reports whether the table is small and has nodes in it that never answered us.
func (n *Node) thin() bool {
	s := n.server.Stats()
	return s.GoodNodes < bucketK && s.Nodes > s.GoodNodes
}

// bootstrapSilent reports whether a bootstrap node of ours does not answer. It may come back with an empty table, and
// then has nobody but us to tell it of the others. Mainline has no such nodes: its are other people's, and many.
func (n *Node) bootstrapSilent() bool {
	if n.cfg.Mode != Private {
		return false
	}
	for _, a := range n.bootstrapNodes() {
		if n.avoid.silent(a.Addr.AddrPort) {
			return true
		}
	}
	return false
}

// join walks to our own id, which fills the table with our neighbours. It returns how many nodes answered.
func (n *Node) join(ctx context.Context) int {
	n.resolve(ctx)
	for _, a := range n.bootstrapNodes() {
		n.avoid.alive(a.Addr.AddrPort) // worth a new try each time
	}
	list := append(n.start(), n.bootstrapNodes()...)
	id := krpc.ID(n.self.AsByteArray())
	_, answered := n.walk(ctx, walk{target: id, start: list, ask: func(ctx context.Context, to mainline.Addr) mainline.QueryResult {
		return n.query(ctx, to, "find_node", krpc.MsgArgs{Target: id})
	}})
	return answered
}

// joining returns what is closed when the first other node has answered; nil when one has.
func (n *Node) joining() <-chan struct{} {
	select {
	case <-n.joined:
		return nil
	default:
		return n.joined
	}
}

// markJoined closes Joined and starts the library's table maintenance, the first time. Not before: with an empty table
// the library leaves a goroutine behind each time it tries.
func (n *Node) markJoined() {
	select {
	case <-n.joined:
	default:
		close(n.joined)
		n.workers.Go(n.maintainTable)
	}
}

// maintainTable is the library's loop: it asks nodes that were silent for long, forgets them when they stay so, and
// fills buckets. It ends when the server is closed.
func (n *Node) maintainTable() { n.server.TableMaintainer() }

// resolve turns the bootstrap names into addresses. What was known stays when a name does not resolve.
func (n *Node) resolve(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var addrs []netip.AddrPort
	for _, hp := range n.cfg.Bootstrap {
		host, service, _ := net.SplitHostPort(hp) // checked by Config.check
		port, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
			continue
		}
		ips, err := n.cfg.Resolve(ctx, host)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
	}
	if len(addrs) > 0 {
		addrs = addrs[:min(len(addrs), maxBootstrap)]
		n.bootstrap.Store(&addrs)
	}
}

// startingNodes is what the library asks for when its table is empty.
func (n *Node) startingNodes() ([]mainline.Addr, error) {
	addrs := n.bootstrap.Load()
	if addrs == nil {
		return nil, errors.New("dht: no bootstrap nodes")
	}
	var list []mainline.Addr
	for _, a := range *addrs {
		list = append(list, mainline.NewAddr(net.UDPAddrFromAddrPort(a)))
	}
	return list, nil
}
