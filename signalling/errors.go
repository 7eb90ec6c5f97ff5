package signalling

import (
	"errors"
	"fmt"
	"os"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

var (
	// ErrSelf is returned by Call for the device's own id.
	ErrSelf = errors.New("signalling: call to this device itself")
	// ErrServing is returned by a second Serve while the first one runs.
	ErrServing = errors.New("signalling: already serving")

	errNoAnswer = fmt.Errorf("no answer in time: %w", os.ErrDeadlineExceeded)
)

// A CallError says that a call was not answered. It satisfies os.ErrDeadlineExceeded when time ran out and
// context.Canceled when the caller gave up.
type CallError struct {
	Peer  identity.DeviceID
	Code  reason.Code // NO_RECORD, RECORD_STALE or PEER_SILENT; empty when the caller gave up first
	Cause error
}

func (e *CallError) Error() string {
	what := "not answered"
	switch e.Code {
	case reason.NoRecord:
		what = "nothing published by that device was found"
	case reason.RecordStale:
		what = "what that device published is out of date"
	case reason.PeerSilent:
		what = "device is present but did not answer"
	}
	return fmt.Sprintf("signalling: call %s: %s: %v", e.Peer.Short(), what, e.Cause)
}

func (e *CallError) Unwrap() error { return e.Cause }

// Reason returns the code for the CLI, the log and the metric.
func (e *CallError) Reason() reason.Code { return e.Code }

// reasonOf translates what was found of the peer into the reason why it did not answer.
func reasonOf(f Finding) reason.Code {
	switch f {
	case FoundFresh:
		return reason.PeerSilent
	case FoundStale:
		return reason.RecordStale
	default:
		return reason.NoRecord
	}
}
