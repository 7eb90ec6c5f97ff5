package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

const (
	// maxLanes is how many holders send at once what was asked for: 1 MiB of buffers each.
	maxLanes = 4

	// laneOffer is how long a holder may take to offer what it said that it offers.
	laneOffer = 30 * time.Second

	// laneRest is how long a lane waits when what is missing is on its way from others.
	laneRest = 500 * time.Millisecond
)

// SourceObject is one of the holders from which something that was asked for comes.
type SourceObject struct {
	Peer  PeerRef    `json:"peer"`
	Bytes int64      `json:"bytes"` // that came from it and were of use
	Error *cli.Error `json:"error,omitempty"`
}

// lanes are the offers that are waited for from holders, by the ids under which they were asked for. Safe for concurrent use.
type lanes struct {
	mu sync.Mutex // guards the field below
	m  map[string]*lane
}

// lane is one of them.
type lane struct {
	holder identity.DeviceID
	offer  chan *transfer.Incoming // one entry
}

func (l *lanes) add(id string, holder identity.DeviceID) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[string]*lane{}
	}
	l.m[id] = &lane{holder, make(chan *transfer.Incoming, 1)}
	return l.m[id]
}

func (l *lanes) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.m, id)
}

// find returns the lane that waits for an offer of that id from a device; nil where none does.
func (l *lanes) find(id string, from identity.DeviceID) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.m[id]; found != nil && found.holder == from {
		return found
	}
	return nil
}

// laneTask gives an offer to who waits for it, and stays until it has ended.
func (d *Daemon) laneTask(l *lane, offer *transfer.Incoming) {
	select {
	case l.offer <- offer:
		<-offer.Done()
	default:
		_ = offer.Decline("it has been offered already")
	}
}

// gathering is one get from several holders.
type gathering struct {
	d   *Daemon
	e   *entry
	g   *transfer.Gathering
	ctx context.Context
	end context.CancelCauseFunc

	mu      sync.Mutex   // guards the fields below, and the first promise
	next    int          // of the sources
	last    error        // why the last holder that failed did
	promise []fileDigest // what the first holder promised; the others must promise the same
}

// errGathered ends the lanes when all is here.
var errGathered = &transfer.Error{Kind: transfer.ErrCancelled, By: transfer.Local, Detail: "all is here"}

// gather gets what was asked for from several holders at once. What has come stays when it fails.
func (d *Daemon) gather(e *entry) error {
	ctx, r := d.table.begin(d.ctx, e, errTakenOver)
	defer d.table.finish(e, r)
	_, keep := d.table.record(e)
	d.table.reopen(e, func(e *entry) { // the journal is the first one's
		e.shown.Peer, e.shown.State, e.shown.Error, e.full = d.refOf(keep.Get.Sources[0]), StateConnecting, nil, false
	})
	journal, err := d.openJournal(e)
	if err != nil {
		return explain(&transfer.Error{Kind: transfer.ErrStorage, Detail: "the journal", Cause: err}, "")
	}
	defer journal.Close()
	dir, done, err := d.folderFor(keep.Get.Sources[0], keep.To)
	if err != nil {
		return explain(&transfer.Error{Kind: transfer.ErrStorage, Cause: err}, "")
	}
	defer done()
	shown, _ := d.table.look(e)
	progress := new(transfer.Progress)
	d.table.change(e, func(e *entry) { e.progress, e.shown.Sources = progress, nil; e.shown.Runs++ })
	x := &gathering{d: d, e: e, g: transfer.NewGathering(shown.ID, dir, transfer.AcceptOptions{Journal: journal, MinFree: d.rules.Load().minFree, NoSync: d.cfg.NoSync}, progress)}
	defer x.g.Close()
	x.ctx, x.end = context.WithCancelCause(ctx)
	defer x.end(nil)
	var running sync.WaitGroup
	for range min(maxLanes, len(keep.Get.Sources)) {
		running.Go(x.laneLoop)
	}
	running.Wait()
	if ctx.Err() != nil { // cancelled, paused, or the node goes down
		d.settle(ctx, e, context.Cause(ctx))
		return nil
	}
	if !x.g.Complete() {
		return x.last
	}
	entries := x.g.Entries()
	res, err := x.g.Finish()
	if err == nil {
		_, keep = d.table.record(e)
		if err = d.checkGot(dir, keep.Get, entries, res.Names); err != nil {
			removeGot(dir, res.Names)
		}
	}
	if err == nil {
		d.stored(e, dir, res)
		d.settle(ctx, e, nil)
	}
	return err
}

// laneLoop asks one holder after the other, each until it fails or all is here.
func (x *gathering) laneLoop() {
	for x.ctx.Err() == nil && !x.g.Complete() {
		_, keep := x.d.table.record(x.e)
		x.mu.Lock()
		n := x.next
		x.next++
		x.mu.Unlock()
		if n >= len(keep.Get.Sources) {
			return
		}
		holder := keep.Get.Sources[n]
		err := x.from(holder)
		if x.g.Complete() {
			x.end(errGathered)
			return
		}
		if err != nil && x.ctx.Err() == nil {
			x.note(holder, 0, err)
			x.mu.Lock()
			x.last = err
			x.mu.Unlock()
			x.d.log.Info("a device did not send what was asked for", "transfer", x.e.shown.ID, "peer", x.d.contacts.NameOf(holder), "error", err)
		}
	}
}

// from takes shares from a holder until all is here.
func (x *gathering) from(holder identity.DeviceID) error {
	for !x.g.Complete() {
		n, err := x.share(holder)
		if err != nil {
			return err
		}
		if x.note(holder, n, nil); n > 0 {
			continue
		}
		rest := time.NewTimer(laneRest)
		select {
		case <-rest.C:
		case <-x.ctx.Done():
			rest.Stop()
			return x.ctx.Err()
		}
	}
	return nil
}

// share asks a holder, and takes what it offers.
func (x *gathering) share(holder identity.DeviceID) (int64, error) {
	d, id := x.d, transfer.NewID()
	l := d.lanes.add(id, holder)
	defer d.lanes.remove(id)
	_, keep := d.table.record(x.e)
	answer, err := d.askHolder(x.ctx, holder, keep.Get, id, askTimeout)
	if err != nil {
		return 0, err
	}
	if err := x.promised(holder, answer.Files); err != nil {
		return 0, err
	}
	late := time.NewTimer(laneOffer)
	defer late.Stop()
	select {
	case offer := <-l.offer:
		d.table.reenter(x.e, func(e *entry) {
			o := offer.Offer()
			e.shown.State, e.shown.Error, e.shown.Size, e.shown.Files, e.shown.Entries = StateReceiving, nil, o.Size, offer.Files(), o.Entries
			if e.shown.File == "" {
				e.shown.File, e.shown.Interaction = shownName(o.Name), o.Interaction
			}
		})
		n, err := x.g.Take(x.ctx, offer)
		if err != nil {
			if noRoom("receive", err) {
				d.table.change(x.e, func(e *entry) { e.full = true })
			}
			err = explain(err, d.contacts.NameOf(holder))
		}
		return n, err
	case <-late.C:
		return 0, cli.Errorf("E_PEER_SILENT", "%s did not offer what it said that it offers", d.contacts.NameOf(holder))
	case <-x.ctx.Done():
		return 0, x.ctx.Err()
	}
}

// promised holds a holder's digests against those of the first, which are what is checked in the end. The first name may be another where it was stored.
func (x *gathering) promised(holder identity.DeviceID, files []fileDigest) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.promise == nil {
		x.promise = files[:min(len(files), maxSummed)]
		x.d.table.reopen(x.e, func(e *entry) {
			again := *e.kept.Get
			again.Files = x.promise
			e.kept.Get = &again
		})
		return nil
	}
	if !slices.EqualFunc(x.promise, files, func(a, b fileDigest) bool { return a.SHA3 == b.SHA3 }) {
		return cli.Errorf("E_INTEGRITY", "%s has other files", x.d.contacts.NameOf(holder))
	}
	return nil
}

// note shows what has come from a holder.
func (x *gathering) note(holder identity.DeviceID, n int64, err error) {
	x.d.table.change(x.e, func(e *entry) {
		sources, ref := slices.Clone(e.shown.Sources), x.d.refOf(holder)
		i := slices.IndexFunc(sources, func(s SourceObject) bool { return s.Peer.Device == ref.Device })
		if i < 0 {
			i, sources = len(sources), append(sources, SourceObject{Peer: ref})
		}
		sources[i].Bytes += n
		if err != nil {
			sources[i].Error = explain(err, ref.Name)
		}
		e.shown.Sources = sources
	})
}

// gathers tells whether a channel is one that a lane waits for.
func (d *Daemon) gathers(in *connmgr.Incoming) bool {
	id, _ := transfer.ParseChannelName(in.Name)
	return d.lanes.find(id, in.Peer) != nil
}

// sumCache remembers the SHA3-256 of files that were asked for, as a holder is asked for the same ones share by share. Safe for concurrent use.
type sumCache struct {
	mu sync.Mutex // guards the field below
	m  map[string]cachedSum
}

type cachedSum struct {
	size int64
	mod  time.Time
	sum  [32]byte
}

// maxCachedSums bounds it: 4,096 paths of 100 bytes are 600 KiB.
const maxCachedSums = 4096

func (c *sumCache) get(path string, size int64, mod time.Time) (sum [32]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have, ok := c.m[path]
	return have.sum, ok && have.size == size && have.mod.Equal(mod)
}

func (c *sumCache) put(path string, size int64, mod time.Time, sum [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxCachedSums {
		c.m = map[string]cachedSum{}
	}
	c.m[path] = cachedSum{size, mod, sum}
}

// gatherable tells whether an error leaves anything to try with one holder alone.
func gatherable(err error) bool {
	var e *cli.Error
	return errors.As(err, &e) && e.Code != "E_LOCAL_IO"
}
