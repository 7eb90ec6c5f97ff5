package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/reason"
)

// ErrClosed is a session that was closed on this side. It wraps net.ErrClosed, as every error does that ends a session.
var ErrClosed = fmt.Errorf("mux: session closed: %w", net.ErrClosed)

// Errors of single calls.
var (
	ErrLinkDown        = errors.New("mux: no link carries the session")
	ErrNoBeaconAnswer  = errors.New("mux: no answer to a beacon")
	ErrTooManyChannels = errors.New("mux: the peer takes no more channels")
	ErrWithdrawn       = errors.New("mux: the channel request is gone")

	errChannelClosed = fmt.Errorf("mux: channel closed: %w", net.ErrClosed)
	errWriteClosed   = fmt.Errorf("mux: channel closed for writing: %w", net.ErrClosed)
	errLateHello     = fmt.Errorf("mux: no HELLO within %v", firstFrameTime)
	errNoSecret      = errors.New("mux: session without a secret cannot be resumed")
	errNoHello       = &ResumeError{Code: framing.CodeProtocol, What: "the session's first link has not brought the peer's HELLO"}
)

// LinkError ends a session that lost its link and got no other in time.
type LinkError struct {
	Linger time.Duration // how long it waited; 0 before the peer's HELLO, when nothing is agreed that could be resumed
	Cause  error         // why the link was lost; not part of the chain: the end of a link is not the end of a stream
}

func (e *LinkError) Error() string {
	if e.Linger == 0 {
		return fmt.Sprintf("mux: link lost before the peer's HELLO: %v", e.Cause)
	}
	return fmt.Sprintf("mux: link lost and not replaced within %v: %v", e.Linger, e.Cause)
}

// Unwrap returns net.ErrClosed.
func (e *LinkError) Unwrap() error { return net.ErrClosed }

// GoAwayError is a session that the peer has ended, or that takes no new channels since one side lets it drain.
type GoAwayError struct {
	Code   framing.Code
	Reason string
	Remote bool // the peer said so
}

func (e *GoAwayError) Error() string {
	who := "this side"
	if e.Remote {
		who = "the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("mux: %s goes away: %v", who, e.Code)
	}
	return fmt.Sprintf("mux: %s goes away: %v: %s", who, e.Code, e.Reason)
}

// Unwrap returns net.ErrClosed, and what has the reason code AUTH_REVOKED where that is why.
func (e *GoAwayError) Unwrap() []error {
	if e.Code == framing.CodeRevoked {
		return []error{net.ErrClosed, errRevoked{}}
	}
	return []error{net.ErrClosed}
}

type errRevoked struct{}

func (errRevoked) Error() string       { return "mux: the device is not allowed any more" }
func (errRevoked) Reason() reason.Code { return reason.AuthRevoked }

// ProtocolError is a session that ended because the peer broke the protocol. The peer was told Code.
type ProtocolError struct {
	Code framing.Code
	What string
}

func (e *ProtocolError) Error() string { return "mux: peer broke the protocol: " + e.What }

// Unwrap returns net.ErrClosed.
func (e *ProtocolError) Unwrap() error { return net.ErrClosed }

// violation is a ProtocolError of the ordinary kind.
func violation(format string, args ...any) *ProtocolError {
	return &ProtocolError{Code: framing.CodeProtocol, What: fmt.Sprintf(format, args...)}
}

// ResetError is a channel that was reset.
type ResetError struct {
	Code   framing.Code
	Reason string
	Remote bool // the peer did it
}

func (e *ResetError) Error() string {
	who := "here"
	if e.Remote {
		who = "by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("mux: channel reset %s: %v", who, e.Code)
	}
	return fmt.Sprintf("mux: channel reset %s: %v: %s", who, e.Code, e.Reason)
}

// ResetCode returns the code, and whether the peer sent it, for users of channels that know no mux.
func (e *ResetError) ResetCode() (code uint16, remote bool) { return uint16(e.Code), e.Remote }

// DeclinedError is a channel that the peer does not want to open.
type DeclinedError struct {
	Name   string
	Reason string // the peer's words, may be empty
}

// Passing tells whether the peer's reason is one that passes by itself: asked later, it may accept.
func (e *DeclinedError) Passing() bool {
	return e.Reason == ReasonBusy || e.Reason == ReasonTooMany || e.Reason == ReasonGoingAway
}

func (e *DeclinedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("mux: open %q: peer declined", e.Name)
	}
	return fmt.Sprintf("mux: open %q: peer declined: %s", e.Name, e.Reason)
}

// OpenError is a channel that could not be opened for another reason.
type OpenError struct {
	Name string
	Err  error
}

func (e *OpenError) Error() string { return fmt.Sprintf("mux: open %q: %v", e.Name, e.Err) }

func (e *OpenError) Unwrap() error { return e.Err }

// UnknownSessionError is a RESUME for a session that its receiver does not have.
type UnknownSessionError struct {
	ID     [16]byte
	Remote bool // the peer does not have it
}

func (e *UnknownSessionError) Error() string {
	if e.Remote {
		return fmt.Sprintf("mux: resume: the peer has no session %x", e.ID)
	}
	return fmt.Sprintf("mux: resume: no session %x here", e.ID)
}

// ResumeError is a link that was not attached; the session goes on as before.
type ResumeError struct {
	Code   framing.Code // as it stood in a GOAWAY, or as the peer was told
	What   string
	Remote bool // the peer refused
}

func (e *ResumeError) Error() string {
	if e.Remote {
		return fmt.Sprintf("mux: resume: peer refused: %v: %s", e.Code, e.What)
	}
	return "mux: resume: " + e.What
}

// timeoutError is a context's deadline in the words that net and os use.
type timeoutError struct{}

func (timeoutError) Error() string   { return "no answer in time" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
func (timeoutError) Is(target error) bool {
	return target == os.ErrDeadlineExceeded || target == context.DeadlineExceeded
}

// contextError returns why ctx is done; its deadline satisfies os.ErrDeadlineExceeded.
func contextError(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return timeoutError{}
	}
	return err
}
