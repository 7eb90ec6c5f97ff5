package transfer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// blockSize is the unit of copying, hashing and stall detection: 16 TLS records,
// large enough that its bookkeeping is nothing beside moving it.
const blockSize = 256 << 10

// ringBlocks bounds what one transfer holds in memory, 4 × 256 KiB = 1 MiB, and
// how far the digest may fall behind the copy.
const ringBlocks = 4

// blocks holds *[blockSize]byte.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// SendOptions are what a sender may choose. The zero value is good.
type SendOptions struct {
	ID       string        // transfer id; default the one in the stream's name, else a new one
	Name     string        // offered name; default Source.Name
	Stall    time.Duration // longest wait for one block; default StallTimeout
	Progress *Progress     // written while the transfer runs; may be nil
	Counters *Counters     // of the program; may be nil
}

// A Result describes a transfer that ended well.
type Result struct {
	ID     string
	Name   string // at the sender as offered, at the receiver as stored in its directory
	Size   int64
	Digest Digest
}

// Send offers src over s, waits for the answer as long as ctx allows, and sends
// the file. It returns nil once the receiver has said that the file is verified
// and stored. The stream is ended whatever happens; src stays open.
func Send(ctx context.Context, s Stream, src *Source, opt SendOptions) (Result, error) {
	x := sending{s: s, src: src, stall: opt.Stall}
	if x.stall <= 0 {
		x.stall = StallTimeout
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
	s     Stream
	in    *bufio.Reader // the receiver's answers
	src   *Source
	stall time.Duration
	meter meter
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
	if err := x.src.check(); err != nil {
		return Result{}, err
	}

	release := tie(ctx, x.s)
	defer release()
	x.in = bufio.NewReaderSize(x.s, maxAnswer)
	if err := x.offer(ctx, h); err != nil {
		return Result{}, err
	}
	sum, err := x.body(ctx)
	if err != nil {
		return Result{}, err
	}
	x.meter.phase(Verifying)
	if err := x.trailer(ctx, sum); err != nil {
		return Result{}, err
	}
	release()
	if err := x.verdict(ctx); err != nil {
		return Result{}, err
	}
	return Result{ID: h.ID, Name: h.Name, Size: h.Size, Digest: sum}, nil
}

// header decides what to offer.
func (x *sending) header(opt SendOptions) (header, error) {
	h := header{Offer: Offer{ID: opt.ID, Name: opt.Name, Size: x.src.size}, digest: digestName}
	if h.Name == "" {
		h.Name = x.src.name
	}
	if err := checkName(h.Name); err != nil {
		return h, err
	}
	if h.ID == "" {
		if n, ok := x.s.(named); ok {
			h.ID, _ = ParseChannelName(n.Name())
		}
	}
	if h.ID == "" {
		h.ID = NewID()
	}
	if !ValidID(h.ID) {
		return h, &Error{Kind: ErrSource, By: Local, Detail: "bad transfer id"}
	}
	return h, nil
}

// offer sends the header and waits for GO.
func (x *sending) offer(ctx context.Context, h header) error {
	if _, err := x.s.Write(appendHeader(nil, h)); err != nil {
		return streamError(ctx, err, "offering")
	}
	a, err := x.answer(ctx, "waiting for the answer")
	if err != nil {
		return err
	}
	switch {
	case a.verb == "NGO":
		return a.refusal()
	case a.verb != "GO":
		return protocolError("%s in answer to an offer", a.verb)
	case a.offset != 0:
		return protocolError("GO %d, and the offer was from 0", a.offset)
	}
	return nil
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

// body sends the file, and returns its digest when it is still the file that was
// offered.
func (x *sending) body(ctx context.Context) (Digest, error) {
	if err := x.src.check(); err != nil { // the answer may have taken hours
		return Digest{}, err
	}
	x.meter.phase(Sending)
	hash := startFileHasher(x.src.file)
	err := x.copyBlocks(ctx, hash)
	sum, hashErr := hash.end()
	if err != nil {
		return sum, err
	}
	// First whether the file changed: if it did, that is also why it could not be
	// read to its end.
	if err := x.src.check(); err != nil {
		return sum, err
	}
	if hashErr != nil {
		return sum, sourceError(hashErr)
	}
	return sum, nil
}

func (x *sending) copyBlocks(ctx context.Context, hash *fileHasher) error {
	if _, err := x.src.file.Seek(0, io.SeekStart); err != nil {
		return sourceError(err)
	}
	var buf []byte
	if _, ok := x.s.(io.ReaderFrom); !ok {
		b := blocks.Get().(*[blockSize]byte)
		defer blocks.Put(b)
		buf = b[:]
	}
	part := &io.LimitedReader{R: x.src.file}
	for at := int64(0); at < x.src.size; {
		if err := x.s.SetDeadline(time.Now().Add(x.stall)); err != nil {
			return streamError(ctx, err, "sending")
		}
		part.N = min(x.src.size-at, blockSize)
		n, err := x.copyPart(part, buf)
		at += n
		x.meter.moved(n)
		hash.sent <- at
		switch {
		case err != nil:
			return x.copyError(ctx, err)
		case part.N > 0:
			return &Error{Kind: ErrChanged, By: Local, Detail: "it became shorter"}
		}
	}
	return nil
}

// copyPart moves what part allows. With a buffer it reads the whole of it before
// it writes, so that a read costs one write.
func (x *sending) copyPart(part *io.LimitedReader, buf []byte) (int64, error) {
	if buf == nil {
		return x.s.(io.ReaderFrom).ReadFrom(part)
	}
	n, err := io.ReadFull(part.R, buf[:part.N])
	part.N -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	n, err = x.s.Write(buf[:n])
	return int64(n), err
}

// copyError tells the file's errors from the stream's.
func (x *sending) copyError(ctx context.Context, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return sourceError(err)
	}
	return streamError(ctx, err, "sending")
}

// trailer says what the body should have been, and that nothing follows.
func (x *sending) trailer(ctx context.Context, sum Digest) error {
	if err := x.s.SetDeadline(time.Now().Add(x.stall)); err != nil {
		return streamError(ctx, err, "sending the digest")
	}
	if _, err := x.s.Write(appendTrailer(nil, sum)); err != nil {
		return streamError(ctx, err, "sending the digest")
	}
	if err := x.s.CloseWrite(); err != nil {
		return streamError(ctx, err, "sending the digest")
	}
	return nil
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
