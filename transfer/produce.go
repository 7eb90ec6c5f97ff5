package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"traverse.internal/core/treehash"
)

// The body is records. A chunk: its kind, its number in 4 bytes, its bytes, its digest. The end: its kind and the digest over all.
const (
	recordChunk = 1
	recordEnd   = 2
)

// block is n bytes of a buffer, body of them of files; or body bytes of a file from at on, which the stream takes from there.
type block struct {
	buf  *[blockSize]byte
	n    int
	body int

	file *os.File // instead of buf
	at   int64
	last bool // nothing more of the file comes: whoever has the block closes it
}

// spanSize is how many bytes of a file a stream is given at a time, four of the mux's longest frames; the last of a chunk may have twice as
// many. What is shorter than leastSpan is copied.
const (
	spanSize  = 4 * 65532
	leastSpan = 64 << 10
)

// A producer reads and hashes the files, a ring of blocks ahead of the stream, and makes the bytes of the body. To a stream that is an
// io.ReaderFrom it gives long runs of a file as they are, hashed and so in the page cache, for the kernel to send; others get the one copy that
// the program makes: from the page cache into the block that is written. (To hash it reads, into the same cache lines again and again;
// mapping the file costs more, and a file that is cut short would end the program.)
//
// Into a stream that is a filler it reads directly, and hashes there: the stream's own writer is the second goroutine then, and there is no
// ring.
type producer struct {
	src     *Source
	m       *manifest
	journal *Journal
	have    bitmap
	without bitmap // chunks that the receiver does not want
	skipped int64  // bytes that the receiver has
	ring    int64  // blocks

	out  chan block
	free chan *[blockSize]byte
	quit chan struct{}
	bad  atomic.Bool

	spans  bool             // the stream takes runs of files
	into   *sending         // whose stream is a filler: what is produced goes there at once
	ctx    context.Context  // of into
	shared *os.File         // the present file as the stream is given it, once it has been
	sight  *[blockSize]byte // what is read only to be hashed

	cur  block
	root Digest
	err  error
	hash *treehash.Hash
}

var errQuit = errors.New("transfer: nobody takes the blocks")

func newProducer(src *Source, m *manifest, j *Journal, have, without bitmap) *producer {
	p := &producer{
		src: src, m: m, journal: j, have: have, without: without, hash: treehash.New(nil),
		out: make(chan block, ringBlocks), free: make(chan *[blockSize]byte, ringBlocks), quit: make(chan struct{}),
	}
	unwanted := int64(0)
	for i := range m.entries {
		for n := m.first[i]; n < m.first[i+1]; n++ {
			if _, length := m.span(i, n); have.has(n) {
				p.skipped += length
			} else if without.has(n) {
				unwanted += length
			}
		}
	}
	p.ring = min(ringBlocks, 1+(m.size-p.skipped-unwanted)/blockSize)
	return p
}

// start lets a goroutine produce.
func (p *producer) start() {
	for range p.ring {
		p.free <- blocks.Get().(*[blockSize]byte)
	}
	go p.hashLoop()
}

// fill produces into a sending whose stream is a filler, and returns the digest of the transfer.
func (p *producer) fill(ctx context.Context, x *sending) (Digest, error) {
	p.into, p.ctx = x, ctx
	p.free <- blocks.Get().(*[blockSize]byte)
	err := p.produce()
	if p.cur.buf == nil {
		p.cur.buf = <-p.free
	}
	blocks.Put(p.cur.buf)
	return p.root, err
}

func (p *producer) failed() bool { return p.bad.Load() }

// end waits for the goroutine and returns the digest of the transfer.
func (p *producer) end() (Digest, error) {
	close(p.quit)
	for b := range p.out {
		p.take(b)
	}
	for {
		select {
		case b := <-p.free:
			blocks.Put(b)
			continue
		default:
		}
		break
	}
	if errors.Is(p.err, errQuit) {
		return p.root, nil
	}
	return p.root, p.err
}

// take gives a block of which all has been sent, or nothing will be, back.
func (p *producer) take(b block) {
	if b.buf != nil {
		p.free <- b.buf // has room for all there are
	}
	if b.last {
		b.file.Close()
	}
}

func (p *producer) hashLoop() {
	defer close(p.out)
	p.err = p.produce()
	if p.err != nil {
		p.bad.Store(true)
	}
	if p.cur.buf != nil {
		blocks.Put(p.cur.buf)
		p.cur = block{}
	}
	if p.sight != nil {
		blocks.Put(p.sight)
	}
}

func (p *producer) produce() error {
	for i := range p.m.entries {
		if p.m.entries[i].Kind != File {
			continue
		}
		if err := p.entry(i); err != nil {
			return err
		}
	}
	p.journal.mu.Lock()
	p.root = rootOf(p.m, p.journal.sums, p.without)
	p.journal.mu.Unlock()
	if err := p.emit(append([]byte{recordEnd}, p.root[:]...)); err != nil {
		return err
	}
	return p.flush()
}

// entry makes the chunks of a file that are to be sent, and hashes those whose digests this side does not remember.
func (p *producer) entry(i int) error {
	var file *sourceFile
	for n := p.m.first[i]; n < p.m.first[i+1]; n++ {
		if p.without.has(n) || p.have.has(n) && p.journal.knows(n) {
			continue
		}
		select {
		case <-p.quit: // where all is there no block asks for it
			return errQuit
		default:
		}
		if file == nil {
			var err error
			if file, err = p.src.open(i); err != nil {
				return err
			}
			defer file.Close()
			defer p.endShared()
		}
		if err := p.chunk(file, i, n); err != nil {
			return err
		}
	}
	if file == nil {
		return nil
	}
	return p.src.checkEnd(file, i)
}

// endShared closes the file that the stream has been given, behind the last of it.
func (p *producer) endShared() {
	if p.shared == nil {
		return
	}
	select {
	case p.out <- block{file: p.shared, last: true}:
	case <-p.quit: // and nobody has it
		p.shared.Close()
	}
	p.shared = nil
}

// span hashes a chunk, then gives it to the stream as it is.
func (p *producer) span(file *sourceFile, i int, at, length int64) error {
	if p.shared == nil {
		var err error
		if p.shared, err = file.share(); err != nil {
			return sourceError(err)
		}
	}
	if p.sight == nil {
		p.sight = blocks.Get().(*[blockSize]byte)
	}
	for done := int64(0); done < length; {
		got, err := file.ReadAt(p.sight[:min(length-done, blockSize)], at+done)
		p.hash.Write(p.sight[:got])
		done += int64(got)
		if err != nil && done < length {
			return p.unreadable(file, i, err)
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	for length > 0 {
		n := length
		if n >= 2*spanSize {
			n = spanSize
		}
		select {
		case p.out <- block{file: p.shared, at: at, body: int(n)}:
		case <-p.quit:
			return errQuit
		}
		at, length = at+n, length-n
	}
	return nil
}

// pour reads a chunk into the stream's own memory, and hashes it there.
func (p *producer) pour(file *sourceFile, i int, at, length int64) error {
	if err := p.flush(); err != nil {
		return err
	}
	for end := at + length; at < end; {
		var unreadable error
		n, err := p.into.fill(p.ctx, int(min(end-at, spanSize)), func(dst []byte) error {
			got, err := file.ReadAt(dst, at)
			if got < len(dst) {
				unreadable = p.unreadable(file, i, err)
				return unreadable
			}
			p.hash.Write(dst)
			at += int64(got)
			return nil
		})
		if unreadable != nil {
			return unreadable
		}
		if err != nil {
			return err
		}
		if err := p.into.sent(p.ctx, int64(n)); err != nil {
			return err
		}
	}
	return nil
}

// unreadable says why a file that was there cannot be read any more.
func (p *producer) unreadable(file *sourceFile, i int, err error) error {
	if errors.Is(err, io.EOF) {
		return &Error{Kind: ErrChanged, By: Local, Detail: "it became shorter"}
	}
	if changed := p.src.check(file, i); errors.Is(changed, ErrChanged) {
		return changed
	}
	return sourceError(err)
}

func (p *producer) chunk(file *sourceFile, i int, n uint32) error {
	at, length := p.m.span(i, n)
	send := !p.have.has(n)
	if send {
		head := binary.BigEndian.AppendUint32([]byte{recordChunk}, n)
		if err := p.emit(head); err != nil {
			return err
		}
	}
	p.hash.Reset()
	if send && p.spans && length >= leastSpan {
		if err := p.span(file, i, at, length); err != nil {
			return err
		}
		length = 0
	}
	if send && p.into != nil && length >= leastSpan {
		if err := p.pour(file, i, at, length); err != nil {
			return err
		}
		length = 0
	}
	for left := length; left > 0; {
		if err := p.room(1); err != nil {
			return err
		}
		dst := p.cur.buf[p.cur.n:min(int64(p.cur.n)+left, blockSize)]
		got, err := file.ReadAt(dst, at)
		p.hash.Write(dst[:got])
		at, left = at+int64(got), left-int64(got)
		if send {
			p.cur.n += got
			p.cur.body += got
		}
		if err != nil && left > 0 {
			return p.unreadable(file, i, err)
		}
	}
	sum := Digest(p.hash.Sum())
	p.journal.add(n, sum)
	if !send {
		return nil
	}
	return p.emit(sum[:])
}

// emit puts a few bytes into the body.
func (p *producer) emit(b []byte) error {
	if err := p.room(len(b)); err != nil {
		return err
	}
	p.cur.n += copy(p.cur.buf[p.cur.n:], b)
	return nil
}

// room makes the current block one with room for n bytes.
func (p *producer) room(n int) error {
	if p.cur.buf != nil && blockSize-p.cur.n >= n {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	select {
	case p.cur.buf = <-p.free:
		return nil
	case <-p.quit:
		return errQuit
	}
}

func (p *producer) flush() error {
	if p.cur.buf == nil {
		return nil
	}
	p.journal.flush()
	if p.into != nil {
		err := p.into.pass(p.ctx, p.cur)
		p.free <- p.cur.buf
		p.cur = block{}
		return err
	}
	select {
	case p.out <- p.cur:
		p.cur = block{}
		return nil
	case <-p.quit:
		return errQuit
	}
}
