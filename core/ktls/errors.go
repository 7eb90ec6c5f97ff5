package ktls

import (
	"errors"
	"fmt"
)

// ErrUnavailable is what Attach returns when the connection stays as it was: the kernel cannot, or not for this one. The
// caller goes on with crypto/tls.
var ErrUnavailable = errors.New("ktls: no kernel TLS for this connection")

// ErrRecord is a record that the kernel refused: it fails authentication, is too long or malformed. The peer has been
// told; the connection is over.
var ErrRecord = errors.New("ktls: bad record")

// ErrHandshake is a handshake message behind the handshake: a key update or a ticket, which the kernel cannot follow.
// The peer has been told; the connection is over.
var ErrHandshake = errors.New("ktls: handshake message on a connection in use")

// An AlertError is an alert of the peer's other than close_notify (RFC 8446 §6).
type AlertError uint8

func (e AlertError) Error() string { return fmt.Sprintf("ktls: peer sent alert %d", uint8(e)) }

// MaxRecords is how many records one key may seal. Of AES-GCM, 2^24.5 full records leave a margin of 2^-57 (RFC 8446
// §5.5): 2^24 are 256 GiB.
const MaxRecords = 1 << 24

// MaxRecord is the most plaintext that goes in one record, in bytes (RFC 8446 §5.1).
const MaxRecord = 16 << 10

// Records returns how many records n bytes take when they are written at once.
func Records(n int) uint64 { return uint64(n+MaxRecord-1) / MaxRecord }
