package transfer

import (
	"context"
	"errors"
	"io"
	"time"
)

// AcceptOptions are what a receiver may choose. The zero value is good.
type AcceptOptions struct {
	Name     string        // stored name, where one file or folder is offered; default the offered one, made safe in either case
	Journal  *Journal      // remembers what has come from run to run; default one that forgets, and then nothing is kept of a failed run
	MinFree  int64         // bytes that must stay free in the directory's file system
	Stall    time.Duration // longest wait for one block; default StallTimeout
	Only     []string      // patterns of what is taken, see Chosen; default all
	Existing Existing      // what becomes of what has a name that is taken
	NoSync   bool          // do not fsync before OK: a power cut may lose a file the sender was told is stored
}

// Accept answers GO with what is here already, and receives the rest into dir. It returns nil once everything is
// verified, durable and under the names that Result has. On an error nothing has such a name; what has come and is verified is
// kept aside for another Accept with the same journal, unless the sender cancelled or the receiver declines. When ctx ends, the transfer
// is cancelled, or what the context's cause says, unless the files have their names already.
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
	j := opt.Journal
	if j == nil {
		j = newJournal()
	}
	p, err := dir.open(in.offer.ID, in.m, j, opt, in.selects) // before GO, while no is still a possible answer
	if err != nil {
		refuse(in.s, err)
		<-in.early
		return Result{}, err
	}
	root, err := in.fill(ctx, p, opt)
	if err == nil {
		release()
		if ctx.Err() != nil {
			err = in.fail(streamError(ctx, ctx.Err(), "verifying"))
		}
	}
	if err != nil {
		p.put(opt, err)
		return Result{}, err
	}
	// The commit. From here on the files are the receiver's, whatever becomes of the
	// stream.
	names, err := p.publish(opt)
	if err != nil {
		p.put(opt, err)
		return Result{}, in.bad(err)
	}
	p.published()
	if say(in.s, answer{verb: "OK"}) != nil {
		_ = in.s.Reset(codeOf(ErrInterrupted), wordOf(ErrInterrupted))
	}
	in.s.Close()
	name := in.offer.Name // all of it was left out
	if len(names) > 0 {
		name = names[0]
	}
	return Result{ID: in.offer.ID, Name: name, Names: names, Size: in.offer.Size, Digest: root}, nil
}

// fill says GO and brings the body into p. On an error it has ended the
// stream.
func (in *Incoming) fill(ctx context.Context, p *part, opt AcceptOptions) (Digest, error) {
	have := p.journal.have.appendHave(nil, in.m.chunks())
	in.meter.had(p.journal.Bytes(), p.journal.Again())
	in.meter.unwantedOf(p.unwantedBytes, int64(p.unwantedFiles))
	in.meter.phase(Receiving)
	err := sayGo(in.s, have, p.unwanted.appendHave(nil, in.m.chunks()), p.journal.Again())
	if err == nil {
		err = in.s.SetDeadline(time.Now().Add(opt.Stall))
	}
	if err != nil {
		err = in.fail(streamError(ctx, err, "accepting"))
	}
	e := <-in.early
	switch {
	case err != nil:
		return Digest{}, err
	case e.n == 0:
		return Digest{}, in.fail(streamError(ctx, e.err, "receiving"))
	}
	root, err := in.body(ctx, p, e.b[0], opt.Stall)
	switch {
	case errors.Is(err, errBad):
		return root, in.bad(err)
	case err != nil:
		return root, in.fail(err)
	}
	in.meter.phase(Verifying)
	if err := p.settle(opt.NoSync); err != nil {
		return root, in.bad(err)
	}
	if in.readBack {
		if err := p.readBack(ctx); err != nil {
			return root, in.bad(err)
		}
	}
	return root, nil
}

func sayGo(s Stream, have, without []byte, again int64) error {
	if err := s.SetDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	line := appendAnswer(nil, answer{verb: "GO", have: int64(len(have)), again: again, without: int64(len(without))})
	_, err := s.Write(append(append(line, have...), without...))
	return err
}

// errBad marks what is found after the sender has said all it has to say: it is answered BAD.
var errBad = errors.New("after the end")

// body reads the stream to its end. Checking and storing is one goroutine's, a ring of blocks behind the reading.
func (in *Incoming) body(ctx context.Context, to sink, first byte, stall time.Duration) (Digest, error) {
	c := startConsumer(to, in.meter)
	err := in.readBlocks(ctx, c, first, stall)
	root, bad := c.end()
	switch {
	case bad != nil && !errors.Is(bad, errShort):
		return root, bad
	case err != nil:
		return root, err
	case bad != nil: // the stream ended in order, and early
		return root, streamError(ctx, io.EOF, "receiving")
	}
	return root, nil
}

// readBlocks returns nil at the stream's end, and when the consumer has had enough.
func (in *Incoming) readBlocks(ctx context.Context, c *consumer, first byte, stall time.Duration) error {
	read, head := 0, 1
	for {
		var buf *[blockSize]byte
		select {
		case buf = <-c.free:
		case <-c.over:
			return nil
		}
		buf[0] = first
		n, err := in.s.Read(buf[head:])
		if n += head; n > 0 {
			c.in <- block{buf: buf, n: n}
		} else {
			c.free <- buf
		}
		head = 0
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return streamError(ctx, err, "receiving")
		}
		if read += n; read >= blockSize {
			read = 0
			if err := in.s.SetDeadline(time.Now().Add(stall)); err != nil {
				return streamError(ctx, err, "receiving")
			}
		}
	}
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
	if say(in.s, answer{verb: "BAD", word: wordOf(err), text: reasonOf(err)}) != nil {
		return in.fail(err)
	}
	in.s.Close()
	return err
}
