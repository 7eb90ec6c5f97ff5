package transfer

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Gathering receives one thing from several holders at once. Each gives a share of the chunks in a transfer of its own, by [Gathering.Take], as
// often as it likes; what it is not to send it is told with GO. The first is to send all; who comes later, or is done with its share, gets the second
// half of what the slowest has still to send. So nobody waits for a holder that is slow or has died silently, and no chunk comes twice unless its holder was too slow.
//
// The chunks are verified one by one as always. That they are those of the same files is for the caller to check in the end: the holders' lists need to
// have the same shape only, as times and the first names differ. Safe for concurrent use.
type Gathering struct {
	id  string
	dir *Dir
	opt AcceptOptions

	progress *Progress

	mu      sync.Mutex // guards the fields below, and the part
	p       *part      // nil before the first offer
	owner   []*share   // of each chunk: who is to send it
	writing []*share   // of each chunk: who has begun to
}

// A share is what one holder sends.
type share struct {
	g      *Gathering
	m      *manifest // as the holder has it
	mine   bitmap    // chunks
	sums   []Digest  // of those that have come from the holder
	count  uint32    // of mine that have not
	owned  uint32    // of mine that nobody else is to send
	bytes  int64     // that were of use
	moved  time.Time // when something last came
	cancel context.CancelCauseFunc
}

// silence is how long a holder may send nothing before another is asked for the last chunk that it was to send.
const silence = 2 * time.Second

// errEnough ends a share when others have brought all that it was to bring.
var errEnough = &Error{Kind: ErrCancelled, By: Local, Detail: "others were quicker"}

// NewGathering makes one for a transfer with the given id in dir. Only the options' Journal, MinFree, Stall and NoSync count; progress may be nil.
func NewGathering(id string, dir *Dir, opt AcceptOptions, progress *Progress) *Gathering {
	if opt.Journal == nil {
		opt.Journal = newJournal()
	}
	if opt.Stall <= 0 {
		opt.Stall = StallTimeout
	}
	if progress == nil {
		progress = new(Progress)
	}
	return &Gathering{id: id, dir: dir, opt: opt, progress: progress}
}

// Complete tells whether all is here.
func (g *Gathering) Complete() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.p != nil && g.p.journal.count == g.p.m.chunks()
}

// Entries returns what is gathered, nil before the first offer. The caller does not change it.
func (g *Gathering) Entries() []Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.p == nil {
		return nil
	}
	return g.p.m.entries
}

// Take receives a share from a holder, and returns how many bytes of it were of use. No error means that it may be asked for another, unless all is here.
func (g *Gathering) Take(ctx context.Context, in *Incoming) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := g.join(in, cancel)
	if err != nil {
		_ = in.Refuse(kinds[indexOf(err)].kind, err.Error())
		return 0, err
	}
	if s == nil {
		return 0, in.Have()
	}
	defer g.leave(s)
	if err := in.claim(cancel); err != nil {
		return 0, err
	}
	err = in.takeShare(ctx, s, g.opt.Stall)
	if errors.Is(context.Cause(ctx), errEnough) {
		err = nil
	}
	in.end(err)
	g.mu.Lock()
	defer g.mu.Unlock()
	return s.bytes, err
}

// takeShare says GO, receives, and says OK.
func (in *Incoming) takeShare(ctx context.Context, s *share, stall time.Duration) error {
	release := tie(ctx, in.s)
	defer release()
	without := s.others().appendHave(nil, in.m.chunks())
	in.meter.phase(Receiving)
	err := sayGo(in.s, nil, without, 0)
	if err == nil {
		err = in.s.SetDeadline(time.Now().Add(stall))
	}
	if err != nil {
		err = in.fail(streamError(ctx, err, "accepting"))
	}
	e := <-in.early
	switch {
	case err != nil:
		return err
	case e.n == 0:
		return in.fail(streamError(ctx, e.err, "receiving"))
	}
	if _, err = in.body(ctx, s, e.b[0], stall); err != nil {
		if errors.Is(err, errBad) {
			return in.bad(err)
		}
		return in.fail(err)
	}
	release()
	if err := say(in.s, answer{verb: "OK"}); err != nil { // what has come counts all the same
		_ = in.s.Reset(codeOf(ErrInterrupted), wordOf(ErrInterrupted))
	}
	in.s.Close()
	return nil
}

// join makes a share for a holder's offer; nil when nothing is left to bring.
func (g *Gathering) join(in *Incoming, cancel context.CancelCauseFunc) (*share, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.p == nil {
		if err := g.openLocked(in.m); err != nil {
			return nil, err
		}
	}
	if !sameShape(g.p.m, in.m) {
		return nil, &Error{Kind: ErrDeclined, By: Local, Detail: "the holders have different files"}
	}
	if !in.selects {
		return nil, &Error{Kind: ErrVersion, By: Local, Detail: "the holder gives all or nothing"}
	}
	s := &share{g: g, m: in.m, cancel: cancel, moved: time.Now(), mine: make(bitmap, (in.m.chunks()+63)/64), sums: make([]Digest, in.m.chunks())}
	if g.assignLocked(s); s.count == 0 {
		return nil, nil
	}
	return s, nil
}

func (g *Gathering) openLocked(m *manifest) error {
	p, err := g.dir.open(g.id, m, g.opt.Journal, AcceptOptions{MinFree: g.opt.MinFree}, true)
	if err != nil {
		return err
	}
	g.p, g.owner, g.writing = p, make([]*share, m.chunks()), make([]*share, m.chunks())
	now := time.Now()
	g.progress.bytes.Store(p.journal.Bytes())
	g.progress.start.Store(p.journal.Bytes())
	g.progress.again.Store(p.journal.Again())
	g.progress.began.Store(&now)
	g.progress.phase.Store(uint32(Receiving))
	return nil
}

// sameShape tells whether two lists have the same files of the same sizes in the same order, whatever their roots are called.
func sameShape(a, b *manifest) bool {
	if len(a.entries) != len(b.entries) || a.chunkLen != b.chunkLen || !slices.Equal(a.roots, b.roots) {
		return false
	}
	for i := range a.entries {
		x, y := &a.entries[i], &b.entries[i]
		_, inX, _ := strings.Cut(x.Path, "/")
		_, inY, _ := strings.Cut(y.Path, "/")
		if x.Kind != y.Kind || x.Size != y.Size || path.Clean(x.Target) != path.Clean(y.Target) || inX != inY {
			return false
		}
	}
	return true
}

// assignLocked gives a share what nobody sends, or else the second half of what the share with the most to send has left.
func (g *Gathering) assignLocked(s *share) {
	for n := range g.p.m.chunks() {
		if !g.p.journal.have.has(n) && g.owner[n] == nil {
			g.give(n, s)
		}
	}
	if s.count > 0 {
		return
	}
	left := map[*share][]uint32{}
	var most *share
	for n := range g.p.m.chunks() {
		if o := g.owner[n]; o != nil && !g.p.journal.have.has(n) {
			if left[o] = append(left[o], n); len(left[o]) > len(left[most]) {
				most = o
			}
		}
	}
	list := left[most]
	if len(list) == 1 && time.Since(most.moved) < silence {
		return // it is coming
	}
	for _, n := range list[len(list)/2:] {
		g.give(n, s)
	}
}

func (g *Gathering) give(n uint32, s *share) {
	if was := g.owner[n]; was != nil {
		was.owned--
	}
	g.owner[n], g.writing[n] = s, nil
	s.owned++
	s.mine.set(n)
	s.count++
}

// leave ends a share: what it has not brought is for others.
func (g *Gathering) leave(s *share) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, o := range g.owner {
		if o == s {
			g.owner[n] = nil
		}
		if g.writing[n] == s {
			g.writing[n] = nil
		}
	}
}

// others are the chunks that the holder is not to send.
func (s *share) others() bitmap {
	b := make(bitmap, len(s.mine))
	for n := range s.m.chunks() {
		if !s.mine.has(n) {
			b.set(n)
		}
	}
	return b
}

// The rest is what a consumer asks of where it stores: *part has the same methods.

func (s *share) list() *manifest { return s.m }

func (s *share) missing(n uint32) bool { return s.mine.has(n) && s.sums[n] == (Digest{}) }

func (s *share) toCome() int64 { return int64(s.count) * s.m.chunkLen }

func (s *share) flush() { s.g.opt.Journal.flush() }

// write stores bytes of a chunk, unless it has come from another or is coming.
func (s *share) write(i int, n uint32, at int64, b []byte) error {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.moved = time.Now()
	if s.g.p.journal.have.has(n) || s.g.writing[n] != nil && s.g.writing[n] != s {
		return nil
	}
	if s.g.writing[n] == nil {
		if first, _ := s.m.span(i, n); first != at {
			return nil // who had begun is gone, and this one's beginning was not written: it will come again
		}
		s.g.writing[n] = s
	}
	return s.g.p.write(i, n, at, b)
}

// verified notes a chunk whose digest is right.
func (s *share) verified(i int, n uint32, sum Digest) error {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	s.sums[n] = sum
	s.count--
	if g.writing[n] != s {
		return nil
	}
	g.writing[n] = nil
	was := g.owner[n]
	g.owner[n] = nil
	if err := g.p.verified(i, n, sum); err != nil {
		return err
	}
	_, length := g.p.m.span(i, n)
	s.bytes += length
	g.progress.bytes.Add(length)
	if was != nil {
		if was.owned--; was.owned == 0 && was != s {
			was.cancel(errEnough) // all that it was to bring is here
		}
	}
	if s.owned == 0 && s.count > 0 {
		s.cancel(errEnough) // what it would send now others bring
	}
	return nil
}

// whole compares the digest over the share.
func (s *share) whole(want Digest) (Digest, error) {
	if s.count > 0 {
		return Digest{}, protocolError("the end, and %d chunks are missing", s.count)
	}
	root := rootOf(s.m, s.sums, s.others())
	if root != want {
		return root, &Error{Kind: ErrIntegrity, By: Local, Detail: "the whole", Cause: errBad}
	}
	return root, nil
}

// Finish stores what was gathered under its names, once all is here and no Take runs. On an error the chunks stay for another Gathering with the same journal.
func (g *Gathering) Finish() (Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.p
	if p == nil || p.journal.count != p.m.chunks() {
		return Result{}, &Error{Kind: ErrInterrupted, By: Local, Detail: "not all is here"}
	}
	g.progress.phase.Store(uint32(Verifying))
	err := p.settle(g.opt.NoSync)
	for i := 0; i < len(p.m.entries) && err == nil; i++ {
		if _, ok := p.named[p.rootOf(i)]; ok || p.m.of(i) == 0 {
			continue
		}
		// A file of which the last chunk did not come last has been closed without its time.
		root, name := p.at(i)
		info, stat := root.Lstat(name)
		if err = stat; err == nil {
			err = p.finishFile(root, name, i, info)
		}
	}
	var names []string
	if err == nil {
		names, err = p.publish(AcceptOptions{NoSync: g.opt.NoSync})
	}
	g.p = nil
	if err != nil {
		p.put(AcceptOptions{NoSync: g.opt.NoSync}, err)
		var known *Error
		if !errors.As(err, &known) {
			err = storageError(err)
		}
		return Result{}, err
	}
	p.published()
	return Result{ID: g.id, Name: names[0], Names: names, Size: p.m.size, Digest: rootOf(p.m, p.journal.sums, nil)}, nil
}

// Close lets go of what is on its way, once no Take runs. With a journal what has come stays for another Gathering; after Finish it does nothing.
func (g *Gathering) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.p != nil {
		g.p.put(AcceptOptions{NoSync: g.opt.NoSync}, ErrInterrupted)
		g.p = nil
	}
}
