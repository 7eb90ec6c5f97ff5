package transfer

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// A Stream is the channel a transfer runs on: reliable, ordered, both directions,
// each of which can end by itself. *mux.Channel is one.
//
// Reset ends both directions at once and tells the peer why; reads and writes
// blocked on the stream return. The error that reports a reset should have a method
// ResetCode() (code uint16, remote bool), so that the code's meaning survives the
// trip.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetDeadline(t time.Time) error
	Reset(code uint16, reason string) error
}

// A resetError is the error of a stream that was reset, by the peer when remote.
type resetError interface {
	error
	ResetCode() (code uint16, remote bool)
}

// A named stream knows the name of its channel, which must agree with the header.
type named interface{ Name() string }

// Waits. All but the sender's wait for GO are bounded here; that one only by its
// context, because a person answers it.
const (
	// HeaderTimeout bounds the wait for the sender's header.
	HeaderTimeout = 30 * time.Second

	// StallTimeout bounds the time one block of 256 KiB may take, unless the
	// options say otherwise: 256 KiB / 2 min = 2.2 KB/s is the slowest link that
	// is not called stalled. It is longer than a session lingers without a link
	// (60 s), so that a transfer survives a change of path.
	StallTimeout = 2 * time.Minute

	// VerdictTimeout bounds the sender's wait while the receiver hashes its last
	// MiB and fsyncs the file.
	VerdictTimeout = 10 * time.Minute

	// VerdictGrace is how long a cancelled sender still waits for the verdict.
	VerdictGrace = 5 * time.Second
)

// tie resets the stream when ctx ends, until release is called. Release may be
// called more than once; when it came too late it returns after the reset.
func tie(ctx context.Context, s Stream) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		kind := causeKind(ctx)
		_ = s.Reset(codeOf(kind), wordOf(kind)) // a stream that is over already needs none
	})
	return sync.OnceFunc(func() {
		if !stop() {
			<-done
		}
	})
}

// causeKind is what the end of ctx means: a cause may say that the transfer is paused, or interrupted; else it is cancelled.
func causeKind(ctx context.Context) error {
	cause := context.Cause(ctx)
	for _, kind := range []error{ErrPaused, ErrInterrupted, ErrDeclined} {
		if errors.Is(cause, kind) {
			return kind
		}
	}
	return ErrCancelled
}

// streamError says what an error of the stream means for the transfer.
func streamError(ctx context.Context, err error, doing string) *Error {
	var e *Error
	var r resetError
	switch {
	case errors.As(err, &e):
		return e
	case ctx.Err() != nil:
		return &Error{Kind: causeKind(ctx), By: Local, Detail: doing, Cause: context.Cause(ctx)}
	case errors.As(err, &r):
		code, remote := r.ResetCode()
		by := Local
		if remote {
			by = Remote
		}
		return &Error{Kind: kindOfCode(code), By: by, Detail: doing, Cause: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Kind: ErrInterrupted, By: Local, Detail: "stalled while " + doing, Cause: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Kind: ErrInterrupted, By: Remote, Detail: "the peer stopped while " + doing, Cause: io.ErrUnexpectedEOF}
	}
	return &Error{Kind: ErrInterrupted, By: Local, Detail: doing, Cause: err}
}

// abandon ends the stream after a failure: in order when the peer said so in a
// line, else by a reset with the error's code. A reset that came from the peer is
// mirrored, so that both sides end in the same state.
func abandon(s Stream, err error) {
	var e *Error
	if errors.As(err, &e) && e.orderly && s.CloseWrite() == nil {
		s.Close()
		return
	}
	why := wordOf(err)
	if more := reasonOf(err); more != "" {
		why += ": " + more
	}
	_ = s.Reset(codeOf(err), why) // a stream that is over already needs none
	s.Close()
}
