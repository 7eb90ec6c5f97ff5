package transfer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"sync"
	"time"
)

// blockSize is the unit of copying, hashing and stall detection: 16 TLS records,
// large enough that its bookkeeping is nothing beside moving it.
const blockSize = 256 << 10

// ringBlocks bounds what one transfer holds in memory, 4 × 256 KiB = 1 MiB, and
// how far the digests may be ahead of or behind the stream.
const ringBlocks = 4

// blocks holds *[blockSize]byte.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// SendOptions are what a sender may choose. The zero value is good.
type SendOptions struct {
	ID          string        // transfer id; default the one in the stream's name, else a new one
	Interaction string        // what the sender calls it where that is another id: of a sending to several devices
	Name        string        // offered name, where one file or folder is sent; default its own
	Note        string        // a word to whoever is asked whether to take it, at most MaxNote bytes; may be empty
	ReadBack    bool          // the receiver reads everything from its disk again, and compares, before it says that it is stored
	Journal     *Journal      // remembers the digests of chunks from run to run; default one that forgets
	Rate        int64         // bytes of the body per second, MinRate at least; 0 is as fast as it goes
	Stall       time.Duration // longest wait for one block; default StallTimeout
	Progress    *Progress     // written while the transfer runs; may be nil
	Counters    *Counters     // of the program; may be nil

	// Ready is asked when the receiver has said GO, before the first byte of the body; nil: always ready. Its error, one of this package's, ends the run.
	Ready func() error
}

// MinRate is the slowest a sender may be told to go: 256 KiB in 16 s, far below StallTimeout.
const MinRate = 16 << 10

// A Result describes a transfer that ended well.
type Result struct {
	ID     string
	Name   string   // of the first file or folder: at the sender as offered, at the receiver as stored in its directory
	Names  []string // of all of them
	Size   int64
	Digest Digest // over all of it
}

// Send offers src over s, waits for the answer as long as ctx allows, and sends
// what the receiver has not. It returns nil once the receiver has said that everything is verified
// and stored. The stream is ended whatever happens. When ctx ends with a cause that is an error of
// this package, the receiver is told that; else that the transfer is cancelled.
func Send(ctx context.Context, s Stream, src *Source, opt SendOptions) (Result, error) {
	x := sending{s: s, src: src, stall: opt.Stall, rate: opt.Rate, journal: opt.Journal}
	if x.stall <= 0 {
		x.stall = StallTimeout
	}
	if x.journal == nil {
		x.journal = newJournal()
	}
	var total *counters
	if opt.Counters != nil {
		total = &opt.Counters.send
	}
	x.meter = newMeter(opt.Progress, total)
	res, err := x.run(ctx, opt)
	if err != nil {
		abandon(s, err)
	} else {
		s.Close()
	}
	x.meter.ended(err)
	return res, err
}

// sending is one Send.
type sending struct {
	s       Stream
	in      *bufio.Reader // the receiver's answers
	src     *Source
	m       *manifest
	journal *Journal
	stall   time.Duration
	rate    int64 // bytes per second; 0 is as fast as it goes
	meter   meter

	began time.Time // of the body
	moved int64     // bytes of files since
}

func (x *sending) run(ctx context.Context, opt SendOptions) (Result, error) {
	h, err := x.header(opt)
	if err != nil {
		return Result{}, err
	}
	if !x.src.busy.CompareAndSwap(false, true) {
		return Result{}, &Error{Kind: ErrSource, By: Local, Detail: "the source is being sent already"}
	}
	defer x.src.busy.Store(false)
	if err := x.src.checkAll(); err != nil {
		return Result{}, err
	}
	if _, err := x.journal.adopt(x.m); err != nil {
		if !full(err) {
			return Result{}, &Error{Kind: ErrSource, By: Local, Detail: "the journal", Cause: err}
		}
		x.journal = newJournal() // it only spares hashing: a disk of ours that is full keeps nothing from being sent
		_, _ = x.journal.adopt(x.m)
	}
	res := Result{ID: h.ID, Name: h.Name, Size: h.Size}
	for _, i := range x.m.roots {
		res.Names = append(res.Names, x.m.entries[i].Path)
	}

	release := tie(ctx, x.s)
	defer release()
	x.in = bufio.NewReaderSize(x.s, maxAnswer)
	have, without, all, err := x.offer(ctx, h)
	if err != nil || all {
		if all {
			x.meter.had(h.Size, x.meter.progress.Again())
			res.Digest = x.digest(ctx)
		}
		return res, err
	}
	if opt.Ready != nil {
		if err := opt.Ready(); err != nil {
			return Result{}, err
		}
	}
	if res.Digest, err = x.body(ctx, have, without); err != nil {
		return Result{}, err
	}
	x.meter.phase(Verifying)
	release()
	if err := x.verdict(ctx); err != nil {
		return Result{}, err
	}
	return res, nil
}

// header decides what to offer.
func (x *sending) header(opt SendOptions) (header, error) {
	x.m = x.src.m
	if opt.Name != "" && opt.Name != x.src.Name() {
		var err error
		if x.m, err = renamed(x.m, opt.Name); err != nil {
			return header{}, err
		}
	}
	h := header{
		Offer:   Offer{ID: opt.ID, Name: x.m.entries[0].Path, Size: x.m.size, Entries: len(x.m.entries), Interaction: opt.Interaction, Note: opt.Note, selects: true, readBack: opt.ReadBack},
		version: wireVersion, manifest: int64(len(x.m.raw)), chunkLen: x.m.chunkLen, digest: digestName,
	}
	if h.ID == "" {
		if n, ok := x.s.(named); ok {
			h.ID, _ = ParseChannelName(n.Name())
		}
	}
	if h.ID == "" {
		h.ID = NewID()
	}
	if err := CheckNote(opt.Note); err != nil {
		return h, err
	}
	if !ValidID(h.ID) || h.Interaction != "" && !ValidID(h.Interaction) {
		return h, &Error{Kind: ErrSource, By: Local, Detail: "bad transfer id"}
	}
	return h, nil
}

// renamed is m with another name for its one root.
func renamed(m *manifest, name string) (*manifest, error) {
	if len(m.roots) != 1 {
		return nil, &Error{Kind: ErrName, By: Local, Detail: "one name for several files"}
	}
	entries := make([]Entry, len(m.entries))
	for i, e := range m.entries {
		_, rest, _ := strings.Cut(e.Path, "/")
		e.Path = name
		if i > 0 {
			e.Path = path.Join(name, rest)
		}
		entries[i] = e
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return newManifest(entries, m.chunkLen)
}

// offer sends the header and the list, and waits for GO, what is there and what is not wanted, or for OK when all is there.
func (x *sending) offer(ctx context.Context, h header) (have, without bitmap, all bool, err error) {
	if _, err := x.s.Write(append(appendHeader(nil, h), x.m.raw...)); err != nil {
		return nil, nil, false, streamError(ctx, err, "offering")
	}
	a, err := x.answer(ctx, "waiting for the answer")
	switch {
	case err != nil:
		return nil, nil, false, err
	case a.verb == "OK":
		return nil, nil, true, nil
	case a.verb == "NGO":
		return nil, nil, false, a.refusal()
	case a.verb != "GO":
		return nil, nil, false, protocolError("%s in answer to an offer", a.verb)
	}
	if err := x.s.SetDeadline(time.Now().Add(x.stall)); err != nil {
		return nil, nil, false, streamError(ctx, err, "reading the answer")
	}
	x.meter.had(0, a.again)
	if have, err = x.readMap(ctx, a.have); err != nil || a.without == 0 {
		return have, nil, false, err
	}
	if without, err = x.readMap(ctx, a.without); err != nil {
		return nil, nil, false, err
	}
	for i := range without {
		if i < len(have) && have[i]&without[i] != 0 {
			return nil, nil, false, protocolError("chunks that are there and not wanted")
		}
	}
	x.meter.unwanted(x.m, without)
	return have, without, false, nil
}

// readMap reads one of the maps behind the answer.
func (x *sending) readMap(ctx context.Context, length int64) (bitmap, error) {
	raw := make([]byte, length)
	if _, err := io.ReadFull(x.in, raw); err != nil {
		return nil, streamError(ctx, err, "reading the answer")
	}
	return parseHave(raw, x.m.chunks())
}

func (x *sending) answer(ctx context.Context, doing string) (answer, error) {
	line, err := x.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return answer{}, protocolError("answer longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return answer{}, streamError(ctx, err, doing)
	}
	return parseAnswer(line)
}

// body sends what the receiver has not, and returns the digest of all of it. The reading and hashing is one goroutine's, ahead of the
// writing, so that a chunk's digest is there when the chunk has been written.
func (x *sending) body(ctx context.Context, have, without bitmap) (Digest, error) {
	x.meter.phase(Sending)
	p := newProducer(x.src, x.m, x.journal, have, without)
	x.meter.had(p.skipped, x.meter.progress.Again())
	x.began = time.Now()
	if f, ok := x.s.(filler); ok && !f.SendsFiles() {
		root, err := p.fill(ctx, x)
		if err != nil {
			return root, err
		}
		return root, x.endBody(ctx)
	}
	_, p.spans = x.s.(io.ReaderFrom)
	p.start()
	err := x.copyBlocks(ctx, p)
	root, readErr := p.end()
	if readErr != nil {
		return root, readErr
	}
	return root, err
}

// digest is that of the transfer whose receiver has all of it: by what the journal remembers, and what it does not is read and hashed. It is zero
// when that cannot be read any more, or ctx ends: it does not unmake what has been done.
func (x *sending) digest(ctx context.Context) Digest {
	have := make(bitmap, (x.m.chunks()+63)/64)
	for n := range x.m.chunks() {
		have.set(n)
	}
	p := newProducer(x.src, x.m, x.journal, have, nil)
	p.start()
	for done := false; !done; {
		select {
		case b, more := <-p.out:
			if done = !more; more {
				p.take(b)
			}
		case <-ctx.Done():
			done = true
		}
	}
	root, err := p.end()
	if err != nil {
		return Digest{}
	}
	return root
}

// filler is a stream whose memory can be read into, unless it sends files by itself. A mux.Channel is one.
type filler interface {
	SendsFiles() bool
	Fill(n int, put func(p []byte) error) (int, error)
}

func (x *sending) copyBlocks(ctx context.Context, p *producer) error {
	for b := range p.out {
		err := x.pass(ctx, b)
		p.take(b)
		if err != nil {
			return err
		}
	}
	if p.failed() {
		return nil // end tells why
	}
	return x.endBody(ctx)
}

func (x *sending) endBody(ctx context.Context) error {
	if err := x.s.CloseWrite(); err != nil {
		return streamError(ctx, err, "sending the digest")
	}
	return nil
}

// pass sends a block.
func (x *sending) pass(ctx context.Context, b block) error {
	err := x.s.SetDeadline(time.Now().Add(x.stall))
	if err == nil {
		err = x.give(b)
	}
	if err != nil {
		return streamError(ctx, err, "sending")
	}
	return x.sent(ctx, int64(b.body))
}

// fill sends n bytes that put makes.
func (x *sending) fill(ctx context.Context, n int, put func([]byte) error) (int, error) {
	err := x.s.SetDeadline(time.Now().Add(x.stall))
	if err == nil {
		n, err = x.s.(filler).Fill(n, put)
	}
	if err != nil {
		return n, streamError(ctx, err, "sending")
	}
	return n, nil
}

// sent counts n bytes of files, and waits when they were too fast.
func (x *sending) sent(ctx context.Context, n int64) error {
	x.meter.moved(n)
	if x.moved += n; x.rate > 0 {
		due := x.began.Add(time.Duration(float64(x.moved) / float64(max(x.rate, MinRate)) * float64(time.Second)))
		if err := waitUntil(ctx, due); err != nil {
			return streamError(ctx, err, "sending")
		}
	}
	return nil
}

// give writes a block.
func (x *sending) give(b block) error {
	if b.file == nil {
		_, err := x.s.Write(b.buf[:b.n])
		return err
	}
	if b.body == 0 {
		return nil
	}
	if _, err := b.file.Seek(b.at, io.SeekStart); err != nil {
		return sourceError(err)
	}
	n, err := x.s.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: b.file, N: int64(b.body)})
	if err == nil && n < int64(b.body) {
		err = &Error{Kind: ErrChanged, By: Local, Detail: "it became shorter"}
	}
	return err
}

func waitUntil(ctx context.Context, due time.Time) error {
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verdict waits for OK or BAD. A context that ends now shortens the wait instead
// of ending it: the receiver may have stored the file already.
func (x *sending) verdict(ctx context.Context) error {
	if err := x.s.SetDeadline(time.Now().Add(VerdictTimeout)); err != nil {
		return streamError(ctx, err, "waiting for the verdict")
	}
	hurried := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(hurried)
		_ = x.s.SetDeadline(time.Now().Add(VerdictGrace)) // a broken stream ends the read by itself
	})
	a, err := x.answer(ctx, "waiting for the verdict")
	if !stop() {
		<-hurried
	}
	switch {
	case err != nil:
		return err
	case a.verb == "BAD":
		return a.refusal()
	case a.verb != "OK":
		return protocolError("%s in answer to a file", a.verb)
	}
	return nil
}
