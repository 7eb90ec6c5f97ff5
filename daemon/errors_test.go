package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/transfer"
)

// withReason is an error of a package below that has a reason code.
type withReason reason.Code

func (e withReason) Error() string       { return string(e) }
func (e withReason) Reason() reason.Code { return reason.Code(e) }

// TestExplain: how a transfer or a connection ends decides what the sender's command ends with.
func TestExplain(t *testing.T) {
	connect := func(err error) error { return &connmgr.ConnectError{Stage: connmgr.StageSignal, Err: err} }
	failed := func(kind error, by transfer.Side) error { return &transfer.Error{Kind: kind, By: by} }
	for _, c := range []struct {
		err  error
		exit int
		code string
	}{
		{connect(withReason(reason.NoRecord)), 7, "E_NO_RECORD"},
		{connect(withReason(reason.PeerSilent)), 8, "E_PEER_SILENT"},
		{connect(withReason(reason.RecordStale)), 8, "E_PEER_SILENT"},
		{connect(withReason(reason.NoPath)), 9, "E_NO_PATH"},
		{connect(withReason(reason.RelayUnreachable)), 9, "E_NO_PATH"},
		{failed(transfer.ErrInterrupted, transfer.Local), 9, "E_NO_PATH"},
		{connect(withReason(reason.AuthWrongKey)), 10, "E_AUTH"},
		{connect(withReason(reason.AuthRevoked)), 10, "E_AUTH"},
		{failed(transfer.ErrDeclined, transfer.Remote), 11, "E_DECLINED"},
		{connect(&mux.DeclinedError{Name: "file://x", Reason: "not here"}), 11, "E_DECLINED"},
		{connect(&mux.DeclinedError{Name: "file://x", Reason: mux.ReasonBusy}), 9, "E_NO_PATH"},
		{failed(transfer.ErrCancelled, transfer.Remote), 12, "E_CANCELLED"},
		{connect(connmgr.ErrClosed), 12, "E_CANCELLED"},
		{failed(transfer.ErrIntegrity, transfer.Remote), 13, "E_INTEGRITY"},
		{failed(transfer.ErrSource, transfer.Local), 14, "E_LOCAL_IO"},
		{failed(transfer.ErrChanged, transfer.Local), 14, "E_LOCAL_IO"},
		{failed(transfer.ErrNoSpace, transfer.Remote), 14, "E_LOCAL_IO"},
		{failed(transfer.ErrStorage, transfer.Remote), 14, "E_LOCAL_IO"},
		{failed(transfer.ErrName, transfer.Remote), 15, "E_DENIED"},
		{connmgr.ErrBusy, 15, "E_DENIED"},
		{connect(context.DeadlineExceeded), 16, "E_TIMEOUT"},
		{connect(os.ErrDeadlineExceeded), 16, "E_TIMEOUT"},
		{connect(withReason(reason.RelayAuth)), 17, "E_RELAY_REFUSED"},
		{connect(withReason(reason.RelayQuota)), 17, "E_RELAY_REFUSED"},
		{failed(transfer.ErrProtocol, transfer.Local), 1, "E_UNEXPECTED"},
		{connect(errors.New("whatever")), 1, "E_UNEXPECTED"},
		{connmgr.ErrSelf, 6, "E_PEER_UNKNOWN"},
	} {
		e := explain(fmt.Errorf("daemon: %w", c.err), "phone")
		if e.Exit != c.exit || e.Code != c.code {
			t.Errorf("%v: %s with exit code %d, want %s with %d", c.err, e.Code, e.Exit, c.code, c.exit)
		}
		if e.Message == "" || len(e.Try) == 0 {
			t.Errorf("%v: %q, try %q; want what happened and what to try", c.err, e.Message, e.Try)
		}
	}
}

// TestExplainIdentity: whatever is wrong with the key, nobody is told to make a new one over it.
func TestExplainIdentity(t *testing.T) {
	for kind, hint := range map[error]string{
		identity.ErrMissing:     "make one: node init",
		identity.ErrExists:      "it stays as it is; `node id` prints its device id",
		identity.ErrPermissions: "chmod -R go= H",
		identity.ErrCorrupt:     "put back a copy of it; a new identity is another device to everybody else",
	} {
		e := explainIdentity(fmt.Errorf("identity: %w", kind), Home{Identity: "H"})
		if e.Exit != 5 || len(e.Try) != 1 || e.Try[0] != hint {
			t.Errorf("%v: exit code %d, try %q; want 5 and %q", kind, e.Exit, e.Try, hint)
		}
	}
}

func TestExplainListen(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string
	}{{syscall.EADDRINUSE, "E_PORT_IN_USE"}, {syscall.EACCES, "E_CONFIG"}, {syscall.EADDRNOTAVAIL, "E_CONFIG"}} {
		e := explainListen(&os.SyscallError{Syscall: "bind", Err: c.err}, "the DHT", "127.0.0.1:1")
		if e.Code != c.code || e.Exit != 3 || len(e.Why) == 0 || len(e.Try) == 0 {
			t.Errorf("%v: %+v, want %s with exit code 3, why and what to try", c.err, e, c.code)
		}
	}
}

// TestWhatPasses: a transfer goes on by itself after what passes by itself, and after nothing else.
func TestWhatPasses(t *testing.T) {
	for err, want := range map[error]bool{
		&mux.DeclinedError{Reason: mux.ReasonBusy}:                          true,
		&mux.DeclinedError{Reason: mux.ReasonTooMany}:                       true,
		&mux.DeclinedError{Reason: mux.ReasonGoingAway}:                     true,
		&mux.DeclinedError{Reason: "no such service"}:                       false,
		&mux.DeclinedError{}:                                                false,
		&transfer.Error{Kind: transfer.ErrBusy, By: transfer.Remote}:        true,
		&transfer.Error{Kind: transfer.ErrInterrupted, By: transfer.Remote}: true,
		&transfer.Error{Kind: transfer.ErrDeclined, By: transfer.Remote}:    false,
		withReason(reason.PeerSilent):                                       true,
		withReason(reason.AuthRevoked):                                      false,
		connmgr.ErrSelf:                                                     false,
	} {
		if got := recoverable(fmt.Errorf("daemon: %w", err)); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
