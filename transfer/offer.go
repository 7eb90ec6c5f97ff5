package transfer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// An Incoming is an offer that waits for an answer: exactly one of Accept, Decline
// and Cancel, at any time. Until then one goroutine watches the stream, so that
// Done closes when the sender withdraws.
type Incoming struct {
	s     Stream
	offer Offer
	m     *manifest
	meter meter

	selects, readBack bool // what the sender's header says

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
	mtr := newMeter(opt.Progress, total)
	h, list, err := readOffer(ctx, s)
	var m *manifest
	if err == nil {
		m, err = judge(s, h, list)
	}
	if err != nil {
		refuse(s, err)
		mtr.ended(err)
		return nil, err
	}
	in := &Incoming{
		s:     s,
		offer: h.Offer,
		m:     m, selects: h.selects, readBack: h.readBack,
		meter: mtr,
		early: make(chan early, 1),
		over:  make(chan struct{}),
	}
	go in.watch()
	return in, nil
}

// readOffer reads the header and the list behind it. The sender is silent after that, so a read that brings more is a violation, not a
// loss. A header that cannot be answered at all ends it there.
func readOffer(ctx context.Context, s Stream) (h header, list []byte, err error) {
	release := tie(ctx, s)
	defer release()
	if err := s.SetDeadline(time.Now().Add(HeaderTimeout)); err != nil {
		return h, nil, streamError(ctx, err, "reading the header")
	}
	text, rest, err := readText(ctx, s)
	if err == nil {
		h, err = parseHeader(text)
	}
	if err != nil {
		return h, nil, err
	}
	if n, ok := s.(named); ok {
		if id, ok := ParseChannelName(n.Name()); !ok || id != h.ID {
			return h, nil, protocolError("the channel's name has another transfer id")
		}
	}
	if int64(len(rest)) > h.manifest {
		return h, nil, protocolError("more than the list of entries")
	}
	if list, err = readList(ctx, s, rest, h.manifest); err != nil {
		return h, nil, err
	}
	if err := s.SetDeadline(time.Time{}); err != nil {
		return h, nil, streamError(ctx, err, "reading the header")
	}
	return h, list, nil
}

// readText reads as far as the blank line, and maybe beyond.
func readText(ctx context.Context, s Stream) (text, rest []byte, err error) {
	text = make([]byte, 0, 1024)
	for {
		if i := bytes.Index(text, []byte("\n\n")); i >= 0 {
			err := checkText(text[:i])
			return text[:i+2], text[i+2:], err
		}
		if bytes.HasPrefix(text, []byte{'\n'}) {
			return text[:1], text[1:], nil
		}
		if err := checkText(text); err != nil {
			return nil, nil, err // garbage is not read to its end
		}
		if len(text) >= MaxHeader {
			return nil, nil, protocolError("header longer than %d bytes", MaxHeader)
		}
		if len(text) == cap(text) {
			text = append(make([]byte, 0, MaxHeader), text...)
		}
		n, err := s.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err != nil && n == 0 {
			return nil, nil, streamError(ctx, err, "reading the header")
		}
	}
}

// readList reads the list of entries, of length bytes. It takes memory as they come.
func readList(ctx context.Context, s Stream, list []byte, length int64) ([]byte, error) {
	list = append([]byte(nil), list...)
	for int64(len(list)) < length {
		list = slices.Grow(list, int(min(length-int64(len(list)), blockSize)))
		n, err := s.Read(list[len(list):min(int64(cap(list)), length)])
		list = list[:len(list)+n]
		if err != nil && n == 0 {
			return nil, streamError(ctx, err, "reading the list of entries")
		}
	}
	return list, nil
}

// judge refuses what no receiver of this version can accept.
func judge(s Stream, h header, list []byte) (*manifest, error) {
	if h.digest != digestName {
		return nil, protocolError("Digest-Algorithm %q", printable(h.digest, 40))
	}
	if err := checkName(h.Name); err != nil {
		return nil, err
	}
	m, err := parseManifest(list, h.Entries, h.chunkLen)
	switch {
	case err != nil:
		return nil, err
	case m.size != h.Size:
		return nil, protocolError("%d bytes offered, %d in the list", h.Size, m.size)
	case m.entries[0].Path != h.Name:
		return nil, protocolError("the first entry has another name")
	}
	return m, nil
}

// refuse answers NGO where there was an offer to answer, and resets the stream
// where there was none.
func refuse(s Stream, err error) {
	if errors.Is(err, ErrName) || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrStorage) || errors.Is(err, ErrDeclined) ||
		errors.Is(err, ErrVersion) || errors.Is(err, ErrPaused) || errors.Is(err, ErrBusy) {
		if say(s, answer{verb: "NGO", word: wordOf(err), text: reasonOf(err)}) == nil {
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

// Entries returns the files, folders and links that are offered. The caller does not change them.
func (in *Incoming) Entries() []Entry { return in.m.entries }

// Files is how many of them are files.
func (in *Incoming) Files() int { return in.m.files() }

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
func (in *Incoming) Decline(reason string) error { return in.Refuse(ErrDeclined, reason) }

// Refuse answers no for another cause than a person's will: ErrPaused or ErrBusy, which mean that it may be offered again, ErrCancelled.
func (in *Incoming) Refuse(kind error, reason string) error {
	reason = printable(reason, MaxReason)
	return in.close(answer{verb: "NGO", word: wordOf(kind), text: reason}, &Error{Kind: kind, By: Local, Detail: reason})
}

// Have answers that all of it is here already, as it was offered: verified, stored and named in an earlier run.
func (in *Incoming) Have() error { return in.close(answer{verb: "OK"}, nil) }

// close answers with the one line that ends the conversation.
func (in *Incoming) close(a answer, end error) error {
	if err := in.claim(nil); err != nil {
		return err
	}
	err := say(in.s, a)
	if err != nil {
		err = streamError(context.Background(), err, "answering")
		abandon(in.s, err)
	}
	in.s.Close()
	<-in.early
	in.end(end)
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
