package tls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"

	stdtls "crypto/tls"

	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// A PeerKeyError says that the peer showed another key than that of the device that was called.
type PeerKeyError struct {
	Want      identity.DeviceID
	Got       identity.DeviceID // zero when the peer's key is not Ed25519
	Algorithm string            // of the peer's key, such as "Ed25519" or "RSA"
}

func (e *PeerKeyError) Error() string {
	if e.Got.IsZero() {
		return fmt.Sprintf("tls: peer has a key for %s, want the Ed25519 key of device %s", e.Algorithm, e.Want)
	}
	return fmt.Sprintf("tls: peer is device %s, want %s", e.Got, e.Want)
}

// Reason returns AUTH_WRONG_KEY.
func (e *PeerKeyError) Reason() reason.Code { return reason.AuthWrongKey }

// A RefusedError says that the peer ended the handshake, or the link, with a TLS alert. The side that is TLS client
// gets it from its first Read: TLS 1.3 lets it finish before the server has looked at its certificate.
type RefusedError struct {
	Alert uint8 // RFC 8446 §6
}

func (e *RefusedError) Error() string {
	return "tls: peer refused: " + strings.TrimPrefix(stdtls.AlertError(e.Alert).Error(), "tls: ")
}

const (
	alertBadCertificate      = 42
	alertCertificateRequired = 116
)

// Reason returns AUTH_WRONG_KEY when it is our certificate that the peer did not want.
func (e *RefusedError) Reason() reason.Code {
	if e.Alert == alertBadCertificate || e.Alert == alertCertificateRequired {
		return reason.AuthWrongKey
	}
	return ""
}

// A Fault is what went wrong in a handshake.
type Fault uint8

// The faults of a handshake.
const (
	FaultTimeout       Fault = iota + 1 // the context's deadline passed
	FaultCancelled                      // the context was cancelled
	FaultStream                         // the raw stream ended or broke
	FaultNotTLS                         // what came is not TLS
	FaultVersion                        // the peer does not speak TLS 1.3
	FaultProtocol                       // the peer does not speak ALPN
	FaultNoCertificate                  // the peer showed no certificate
	FaultOther                          // the peer broke the rules of TLS in another way
)

var faultText = [...]string{
	FaultTimeout:       "timed out",
	FaultCancelled:     "cancelled",
	FaultStream:        "connection ended",
	FaultNotTLS:        "peer does not speak TLS",
	FaultVersion:       "peer does not speak TLS 1.3",
	FaultProtocol:      "peer does not speak " + ALPN,
	FaultNoCertificate: "peer showed no certificate",
	FaultOther:         "failed",
}

// A HandshakeError is any failure to set up a Link other than *PeerKeyError and *RefusedError. With FaultTimeout it
// satisfies os.ErrDeadlineExceeded.
type HandshakeError struct {
	Fault Fault
	Err   error // what crypto/tls, the stream or the context said; nil when Fault says it all
}

func (e *HandshakeError) Error() string {
	if e.Err == nil {
		return "tls: handshake: " + faultText[e.Fault]
	}
	return fmt.Sprintf("tls: handshake: %s: %s", faultText[e.Fault], strings.TrimPrefix(e.Err.Error(), "tls: "))
}

func (e *HandshakeError) Unwrap() []error {
	var causes []error
	if e.Err != nil {
		causes = append(causes, e.Err)
	}
	if e.Fault == FaultTimeout {
		causes = append(causes, os.ErrDeadlineExceeded)
	}
	return causes
}

// Timeout reports whether the handshake ran out of time, as in net.Error.
func (e *HandshakeError) Timeout() bool { return e.Fault == FaultTimeout }

// classify turns what a failed handshake returned into one of the package's errors.
func classify(err error) error {
	var key *PeerKeyError
	var ours *HandshakeError
	var header stdtls.RecordHeaderError
	var op *net.OpError
	var network net.Error
	switch alert, refused := remoteAlert(err); {
	case errors.As(err, &key):
		return key
	case errors.As(err, &ours):
		return ours
	case refused:
		return &RefusedError{Alert: alert}
	case errors.Is(err, context.Canceled):
		return &HandshakeError{Fault: FaultCancelled, Err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return &HandshakeError{Fault: FaultTimeout, Err: err}
	case errors.As(err, &header):
		return &HandshakeError{Fault: FaultNotTLS, Err: err}
	case errors.As(err, &op) && op.Op == "local error": // an alert of ours, in the clothes of a network error
		return &HandshakeError{Fault: FaultOther, Err: op.Err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.ErrClosedPipe), errors.As(err, &network):
		return &HandshakeError{Fault: FaultStream, Err: err}
	default:
		return &HandshakeError{Fault: FaultOther, Err: err}
	}
}

// remoteAlert returns the alert in an error by which crypto/tls reports one from the peer: a net.OpError whose cause is
// of an unexported type with the alert's number. (crypto/tls uses its exported AlertError with QUIC only.)
func remoteAlert(err error) (uint8, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	number := reflect.ValueOf(op.Err)
	if number.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(number.Uint()), true
}
