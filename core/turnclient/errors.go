package turnclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"traverse.internal/core/reason"
	"traverse.internal/core/stun"
)

var (
	// ErrClosed is returned by calls on a client or allocation that was closed. It is net.ErrClosed.
	ErrClosed = fmt.Errorf("turnclient: %w", net.ErrClosed)
	// ErrFamily means that the relay has no address of the family asked for: go on with the other one.
	ErrFamily = errors.New("turnclient: address family not supported by the relay")
	// ErrTransport means that the relay lends no ports of the transport asked for: try the other one.
	ErrTransport = errors.New("turnclient: transport not supported by the relay")
	// ErrAllocated is returned by a second Allocate on one client.
	ErrAllocated = errors.New("turnclient: the client has its allocation already")
	// ErrLimit is returned by Permit for more than MaxPermissions addresses, and by Bind for more than MaxChannels peers.
	ErrLimit = errors.New("turnclient: too many peer addresses")

	// Causes inside an UnreachableError.
	ErrGarbage = errors.New("not an answer of a TURN server")
	ErrForged  = errors.New("the answer failed its integrity check")
)

// Error is the relay's refusal of a request.
type Error struct {
	Method    stun.Method
	Code      stun.ErrorCode
	Phrase    string         // the relay's own words, printable and at most 128 bytes
	Alternate netip.AddrPort // with 300: where to go instead, zero if it did not say
}

// Error returns for example `turnclient: Allocate refused: 486 Allocation Quota Reached`.
func (e *Error) Error() string {
	s := fmt.Sprintf("turnclient: %v refused: %v", e.Method, e.Code)
	if e.Phrase != "" && !strings.EqualFold(e.Phrase, e.Code.Phrase()) {
		s += fmt.Sprintf(" (%q)", e.Phrase)
	}
	return s
}

// Is makes a refused family ErrFamily, and a refused transport ErrTransport.
func (e *Error) Is(target error) bool {
	return target == ErrFamily && e.Code == stun.CodeFamilyNotSupported ||
		target == ErrTransport && e.Method == stun.MethodAllocate && e.Code == stun.CodeUnsupportedTransport
}

// Reason tells credentials and capacity from the rest.
func (e *Error) Reason() reason.Code {
	switch e.Code {
	case stun.CodeUnauthenticated, stun.CodeStaleNonce, stun.CodeWrongCredentials:
		return reason.RelayAuth
	case stun.CodeForbidden:
		if e.Method == stun.MethodAllocate { // elsewhere it speaks of the peer
			return reason.RelayAuth
		}
	case stun.CodeTryAlternate, stun.CodeAllocationQuotaReached, stun.CodeInsufficientCapacity:
		return reason.RelayQuota
	}
	return ""
}

// UnreachableError means that the relay did not answer, or not as a relay.
type UnreachableError struct {
	Server string // host:port
	Op     string // what was tried: "dial", the method of a request, or "control connection"
	Err    error
}

// Error returns for example `turnclient: 192.0.2.1:3478: Allocate: no answer in time`.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("turnclient: %s: %s: %v", e.Server, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Reason is RELAY_UNREACHABLE.
func (e *UnreachableError) Reason() reason.Code { return reason.RelayUnreachable }

// timeoutError is the cause of an UnreachableError when time ran out, the caller's or ours.
type timeoutError struct{}

func (timeoutError) Error() string { return "no answer in time" }
func (timeoutError) Timeout() bool { return true }
func (timeoutError) Is(target error) bool {
	return target == os.ErrDeadlineExceeded || target == context.DeadlineExceeded
}

// failure wraps what went wrong in op. That the caller gave up says nothing about the relay.
func failure(ctx context.Context, server, op string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("turnclient: %s: %w", op, context.Canceled)
	}
	var t interface{ Timeout() bool }
	if ctx.Err() != nil || errors.As(err, &t) && t.Timeout() {
		err = timeoutError{}
	}
	return &UnreachableError{Server: server, Op: op, Err: err}
}

// maxPhrase is as much of the server's words as is kept, in bytes; the standard allows 127 characters.
const maxPhrase = 128

// refusal turns an error response into an *Error.
func refusal(m stun.Message) (*Error, error) {
	code, phrase, err := m.ErrorCode()
	if err != nil {
		return nil, err
	}
	e := &Error{Method: m.Type().Method, Code: code}
	e.Phrase = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return -1 // it goes to a terminal one day
		}
		return r
	}, string(phrase[:min(len(phrase), maxPhrase)]))
	if code == stun.CodeTryAlternate {
		e.Alternate, _ = m.Addr(stun.AttrAlternateServer)
	}
	return e, nil
}
