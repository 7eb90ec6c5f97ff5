package transfer

import (
	"context"
	"errors"
	"io"
	"time"
)

// AcceptOptions are what a receiver may choose. The zero value is good.
type AcceptOptions struct {
	Name    string        // stored name; default the offered one, made safe in either case
	MinFree int64         // bytes that must stay free in the directory's file system
	Stall   time.Duration // longest wait for one block; default StallTimeout
	NoSync  bool          // do not fsync before OK: a power cut may lose a file the sender was told is stored
}

// Accept answers GO and receives the file into dir. It returns nil once the file is
// verified, durable and under the name that Result has. On any error nothing is
// left in dir. When ctx ends, the transfer is cancelled, unless the file has its
// name already.
func (in *Incoming) Accept(ctx context.Context, dir *Dir, opt AcceptOptions) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := in.claim(cancel); err != nil {
		return Result{}, err
	}
	if opt.Stall <= 0 {
		opt.Stall = StallTimeout
	}
	res, err := in.receive(ctx, dir, opt)
	in.end(err)
	return res, err
}

func (in *Incoming) receive(ctx context.Context, dir *Dir, opt AcceptOptions) (Result, error) {
	release := tie(ctx, in.s)
	defer release()
	p, err := dir.create(in.offer.Size, opt.MinFree) // before GO, while no is still a possible answer
	if err != nil {
		refuse(in.s, err)
		<-in.early
		return Result{}, err
	}
	res, err := in.fill(ctx, p, opt)
	if err != nil {
		p.discard()
		return Result{}, err
	}
	release()
	if ctx.Err() != nil {
		p.discard()
		return Result{}, in.fail(streamError(ctx, ctx.Err(), "verifying"))
	}
	// The commit. From here on the file is the receiver's, whatever becomes of the
	// stream.
	name := opt.Name
	if name == "" {
		name = in.offer.Name
	}
	res.Name, err = p.publish(SafeName(name), opt.NoSync)
	if err != nil {
		p.discard()
		return Result{}, in.bad(err)
	}
	if say(in.s, answer{verb: "OK"}) != nil {
		_ = in.s.Reset(codeOf(ErrInterrupted), wordOf(ErrInterrupted))
	}
	in.s.Close()
	return res, nil
}

// fill says GO and brings body and trailer into p. On an error it has ended the
// stream.
func (in *Incoming) fill(ctx context.Context, p *part, opt AcceptOptions) (Result, error) {
	in.meter.phase(Receiving)
	if err := say(in.s, answer{verb: "GO"}); err != nil {
		err = in.fail(streamError(ctx, err, "accepting"))
		<-in.early
		return Result{}, err
	}
	if err := in.s.SetDeadline(time.Now().Add(opt.Stall)); err != nil {
		err = in.fail(streamError(ctx, err, "receiving"))
		<-in.early
		return Result{}, err
	}
	body, err := in.bodyReader()
	if err != nil {
		return Result{}, in.fail(streamError(ctx, err, "receiving"))
	}
	got, err := in.body(ctx, body, p, opt.Stall)
	if err != nil {
		return Result{}, in.fail(err)
	}
	in.meter.phase(Verifying)
	want, err := in.trailer(ctx, body, opt.Stall)
	if err != nil {
		return Result{}, in.fail(err)
	}
	if got != want {
		return Result{}, in.bad(&Error{Kind: ErrIntegrity, By: Local})
	}
	if err := p.settle(opt.NoSync); err != nil {
		return Result{}, in.bad(err)
	}
	return Result{ID: in.offer.ID, Size: in.offer.Size, Digest: got}, nil
}

// body stores exactly as many bytes as were offered, and hashes them beside it.
func (in *Incoming) body(ctx context.Context, body io.Reader, p *part, stall time.Duration) (Digest, error) {
	free := make(chan *[blockSize]byte, ringBlocks)
	for range min(ringBlocks, 1+in.offer.Size/blockSize) {
		free <- blocks.Get().(*[blockSize]byte)
	}
	hash := startBlockHasher(free)
	err := in.copyBlocks(ctx, body, p, hash, stall)
	sum := hash.end()
	close(free)
	for b := range free {
		blocks.Put(b)
	}
	return sum, err
}

func (in *Incoming) copyBlocks(ctx context.Context, body io.Reader, p *part, hash *blockHasher, stall time.Duration) error {
	for left := in.offer.Size; left > 0; {
		if err := in.s.SetDeadline(time.Now().Add(stall)); err != nil {
			return streamError(ctx, err, "receiving")
		}
		buf := <-hash.free
		n, err := io.ReadFull(body, buf[:min(left, blockSize)])
		in.meter.moved(int64(n))
		left -= int64(n)
		// The hasher and the file read the block at the same time. It comes back by
		// hash.free, which only this loop takes from, after the file has it.
		hash.in <- block{buf, n}
		if err != nil {
			return streamError(ctx, err, "receiving")
		}
		if err := p.write(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// trailer reads to the end of the stream.
func (in *Incoming) trailer(ctx context.Context, body io.Reader, stall time.Duration) (Digest, error) {
	if err := in.s.SetDeadline(time.Now().Add(stall)); err != nil {
		return Digest{}, streamError(ctx, err, "reading the digest")
	}
	text, err := io.ReadAll(io.LimitReader(body, maxTrailer+1))
	if err != nil {
		return Digest{}, streamError(ctx, err, "reading the digest")
	}
	if len(text) == 0 {
		return Digest{}, streamError(ctx, io.EOF, "reading the digest")
	}
	return parseTrailer(text)
}

// fail resets the stream with the code of err.
func (in *Incoming) fail(err error) error {
	abandon(in.s, err)
	return err
}

// bad tells the sender, who has said all it has to say, that the file is not here.
func (in *Incoming) bad(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return in.fail(err)
	}
	if say(in.s, answer{verb: "BAD", word: wordOf(err)}) != nil {
		return in.fail(err)
	}
	in.s.Close()
	return err
}
