package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// An Incoming is an offer that waits for an answer: exactly one of Accept, Decline
// and Cancel, at any time. Until then one goroutine watches the stream, so that
// Done closes when the sender withdraws.
type Incoming struct {
	s     Stream
	offer Offer
	meter meter
	early chan early // what the watching read brought; one entry
	over  chan struct{}

	mu       sync.Mutex // guards the fields below
	answered bool
	cancel   context.CancelCauseFunc // of a running Accept
	err      error                   // the first cause
	ended    bool
}

// early is the result of the read that watches a pending offer. After GO it is the
// first byte of the body.
type early struct {
	b   [1]byte
	n   int
	err error
}

// ReceiveOptions are what a receiver's program may choose before it knows what is
// offered. The zero value is good.
type ReceiveOptions struct {
	Progress *Progress // written while the transfer runs; may be nil
	Counters *Counters // of the program; may be nil
}

// ReadOffer reads the header of a transfer from s. A header that cannot be
// accepted by anyone is refused at once, and the stream is ended.
func ReadOffer(ctx context.Context, s Stream, opt ReceiveOptions) (*Incoming, error) {
	var total *counters
	if opt.Counters != nil {
		total = &opt.Counters.receive
	}
	m := newMeter(opt.Progress, total)
	h, err := readHeader(ctx, s)
	if err == nil {
		err = judge(s, h)
	}
	if err != nil {
		refuse(s, err)
		m.ended(err)
		return nil, err
	}
	in := &Incoming{
		s:     s,
		offer: h.Offer,
		meter: m,
		early: make(chan early, 1),
		over:  make(chan struct{}),
	}
	go in.watch()
	return in, nil
}

// readHeader reads as far as the blank line. The sender is silent after it, so a
// read that brings more is a violation, not a loss.
func readHeader(ctx context.Context, s Stream) (header, error) {
	release := tie(ctx, s)
	defer release()
	if err := s.SetDeadline(time.Now().Add(HeaderTimeout)); err != nil {
		return header{}, streamError(ctx, err, "reading the header")
	}
	text := make([]byte, 0, 512)
	for !bytes.Contains(text, []byte("\n\n")) && !bytes.HasPrefix(text, []byte{'\n'}) {
		if len(text) >= MaxHeader {
			return header{}, protocolError("header longer than %d bytes", MaxHeader)
		}
		if len(text) == cap(text) {
			text = append(make([]byte, 0, MaxHeader), text...)
		}
		n, err := s.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err := checkText(text[len(text)-n:]); err != nil {
			return header{}, err // garbage is not read to its end
		}
		if err != nil && n == 0 {
			return header{}, streamError(ctx, err, "reading the header")
		}
	}
	if err := s.SetDeadline(time.Time{}); err != nil {
		return header{}, streamError(ctx, err, "reading the header")
	}
	return parseHeader(text)
}

// judge refuses what no receiver of this version can accept.
func judge(s Stream, h header) error {
	if n, ok := s.(named); ok {
		if id, ok := ParseChannelName(n.Name()); !ok || id != h.ID {
			return protocolError("the channel's name has another transfer id")
		}
	}
	if h.digest != digestName {
		return protocolError("Digest-Algorithm %q", printable(h.digest, 40))
	}
	if h.offset != 0 {
		return protocolError("Offset %d, and nothing of the file is here", h.offset)
	}
	return checkName(h.Name)
}

// refuse answers NGO where there was an offer to answer, and resets the stream
// where there was none.
func refuse(s Stream, err error) {
	if errors.Is(err, ErrName) || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrStorage) || errors.Is(err, ErrDeclined) {
		if say(s, answer{verb: "NGO", word: wordOf(err)}) == nil {
			s.Close()
			return
		}
	}
	abandon(s, err)
}

// say sends an answer; after anything but GO nothing follows it.
func say(s Stream, a answer) error {
	if err := s.SetDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	_, err := s.Write(appendAnswer(nil, a))
	if err == nil && a.verb != "GO" {
		err = s.CloseWrite()
	}
	return err
}

// watch makes the one read of a pending offer.
func (in *Incoming) watch() {
	var e early
	e.n, e.err = in.s.Read(e.b[:])
	err := protocolError("the body came before GO")
	if e.n == 0 {
		err = streamError(context.Background(), e.err, "waiting for the answer")
	}
	in.mu.Lock()
	pending := !in.answered
	if pending {
		in.answered = true
		in.err = err
	}
	in.mu.Unlock()
	if pending {
		abandon(in.s, err)
		in.end(err)
	}
	in.early <- e
}

// claim makes the caller the one who answers.
func (in *Incoming) claim(cancel context.CancelCauseFunc) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.err != nil:
		return in.err
	case in.answered:
		return ErrAnswered
	}
	in.answered = true
	in.cancel = cancel
	return nil
}

// end keeps the first cause and tells those who wait.
func (in *Incoming) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return
	}
	in.ended = true
	in.err = err
	in.meter.ended(err)
	close(in.over)
}

// Offer returns what is offered.
func (in *Incoming) Offer() Offer { return in.offer }

// Done is closed when the transfer has ended: stored, declined, cancelled, failed
// or withdrawn.
func (in *Incoming) Done() <-chan struct{} { return in.over }

// Err returns how the transfer ended, nil before Done and after success.
func (in *Incoming) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// Decline answers no. The reason is told to the sender: printable ASCII, at most
// MaxReason bytes; it may be empty.
func (in *Incoming) Decline(reason string) error {
	if err := in.claim(nil); err != nil {
		return err
	}
	reason = printable(reason, MaxReason)
	declined := &Error{Kind: ErrDeclined, By: Local, Detail: reason}
	err := say(in.s, answer{verb: "NGO", word: wordOf(declined), text: reason})
	if err != nil {
		err = streamError(context.Background(), err, "declining")
		abandon(in.s, err)
	}
	in.s.Close()
	<-in.early
	in.end(declined)
	return err
}

// Cancel ends the transfer in whatever state it is. A pending offer is taken as
// cancelled by us; a running Accept returns ErrCancelled, unless the file was
// stored already. Cancel after the end does nothing.
func (in *Incoming) Cancel() {
	cancelled := &Error{Kind: ErrCancelled, By: Local}
	if in.claim(nil) == nil {
		abandon(in.s, cancelled)
		<-in.early
		in.end(cancelled)
		return
	}
	in.mu.Lock()
	cancel := in.cancel
	in.mu.Unlock()
	if cancel != nil {
		cancel(cancelled)
	}
}

// bodyReader returns a reader of the body: the watched byte and what follows it.
func (in *Incoming) bodyReader() (io.Reader, error) {
	e := <-in.early
	if e.n == 0 {
		return nil, e.err
	}
	return io.MultiReader(bytes.NewReader(e.b[:1]), in.s), nil
}
