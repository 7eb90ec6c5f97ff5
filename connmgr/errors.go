package connmgr

import (
	"errors"
	"fmt"
	"net"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

var (
	// ErrClosed is returned by every method of a Manager after Close.
	ErrClosed = fmt.Errorf("connmgr: manager closed: %w", net.ErrClosed)
	// ErrSelf refuses a connection to the device's own id.
	ErrSelf = errors.New("connmgr: this is the device's own id")
	// ErrNoSession is returned under Options.NoNew when there is no session with the device.
	ErrNoSession = errors.New("connmgr: no session with this device, and a new one was not wanted")
	// ErrBusy is returned when MaxAttempts attempts are already in progress.
	ErrBusy = errors.New("connmgr: too many connection attempts in progress")

	errRefused = errors.New("connmgr: sender not allowed")
)

// errRevoked is a device whose account no longer lists it.
type errRevoked struct{}

func (errRevoked) Error() string       { return "its account no longer lists this device" }
func (errRevoked) Reason() reason.Code { return reason.AuthRevoked }

// Stage names the step of an attempt that failed.
type Stage string

// The steps of an attempt, in order.
const (
	StageGather    Stage = "gather"    // collect candidates, allocate at the relay
	StageSignal    Stage = "signal"    // find the device, exchange offers
	StageNegotiate Stage = "negotiate" // find a path
	StageSecure    Stage = "secure"    // TLS handshake
	StageSession   Stage = "session"   // HELLO or RESUME
	StageOpen      Stage = "open"      // channel request on a live session
)

// ConnectError says at which step a connection to a device failed, and why. Unwrap gives the cause;
// Reason is the cause's reason code, empty when it has none.
type ConnectError struct {
	Peer  identity.DeviceID
	Stage Stage
	Err   error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connmgr: connect to %s: %s: %v", e.Peer.Short(), e.Stage, e.Err)
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// Reason returns the reason code of the cause.
func (e *ConnectError) Reason() reason.Code { return reason.Of(e.Err) }
