package tls

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	stdtls "crypto/tls"

	"traverse.internal/core/ktls"
	"traverse.internal/identity"
)

// ALPN is the protocol name both sides must name: the frames and rules of docs/protocol/mux.md.
const ALPN = "traverse/1"

// maxRecord is the most plaintext that goes in one record (RFC 8446 §5.1).
const maxRecord = 16 << 10

// closeWait is how long Close waits for room to say close_notify. A stream with room takes it at once; one whose peer
// stopped reading does not get one.
const closeWait = 250 * time.Millisecond

// ErrTruncated is what Read returns when the raw stream ended without the peer saying so: cut off, on purpose or not.
// It wraps io.ErrUnexpectedEOF and is never io.EOF.
var ErrTruncated = fmt.Errorf("tls: stream cut off: %w", io.ErrUnexpectedEOF)

// A Link is an authenticated, encrypted stream to one device. It is a net.Conn with CloseWrite.
type Link struct {
	conn    *stdtls.Conn
	carrier *carrier
	peer    identity.DeviceID

	kernel *ktls.Conn // seals and opens instead of conn; nil: conn does

	writing  sync.Mutex // held for a whole Write, so that its records stay together; guards the fields below
	sealed   uint64     // records written
	keyLimit uint64     // of them
	ended    bool       // CloseWrite has been called; of a link in the kernel
	broken   error      // of the first write that failed, of a link in the kernel

	closing  sync.Once
	closeErr error
}

// Peer returns the id of the device at the other end.
func (l *Link) Peer() identity.DeviceID { return l.peer }

// NetConn returns the raw stream under the Link, for its socket options. Reading or writing it breaks the Link.
func (l *Link) NetConn() net.Conn { return l.carrier.raw }

// Exporter returns 32 bytes of keying material (RFC 8446 §7.5) that both ends of this link, and nobody else, get for
// the same label.
func (l *Link) Exporter(label string) ([]byte, error) {
	state := l.conn.ConnectionState()
	key, err := state.ExportKeyingMaterial(label, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("tls: export %q: %w", label, err)
	}
	return key, nil
}

// Read reads what the peer wrote. See the package comment for how it ends.
func (l *Link) Read(p []byte) (int, error) {
	if l.kernel != nil {
		return l.kernelRead(p)
	}
	n, err := l.conn.Read(p)
	if alert, ok := remoteAlert(err); ok {
		err = &RefusedError{Alert: alert}
	}
	return n, err
}

// Write sends p in one raw write, or in one for each 128 KiB when it is longer. When it fails, n bytes at most have
// left, and every later Write fails too.
func (l *Link) Write(p []byte) (n int, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.sealing(len(p)); err != nil {
		return 0, err
	}
	if l.kernel != nil {
		return l.kernelWrite(p)
	}
	if len(p) <= maxRecord { // one record is one raw write without our help, and without a copy
		return l.conn.Write(p)
	}
	l.carrier.gather()
	n, err = l.conn.Write(p)
	if flushErr := l.carrier.flush(); err == nil {
		err = flushErr
	}
	return n, err
}

// CloseWrite tells the peer that nothing follows; its Read ends with io.EOF. Reading goes on. The raw stream stays open
// in both directions. It waits for a Write under way.
func (l *Link) CloseWrite() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.kernel == nil {
		return l.conn.CloseWrite()
	}
	if l.broken == nil && !l.ended {
		l.broken = l.kernel.CloseWrite()
		l.ended = true
	}
	return l.broken
}

// Close ends the link and closes the raw stream. It says close_notify unless a Write is under way, which it interrupts,
// or the peer has stopped reading. Later calls return what the first one did.
func (l *Link) Close() error {
	l.closing.Do(func() {
		if !l.writing.TryLock() {
			l.closeErr = l.carrier.Close()
			return
		}
		defer l.writing.Unlock()
		if l.kernel != nil {
			l.closeErr = l.kernelClose()
			return
		}
		l.carrier.hurry()
		err := l.conn.Close()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			err = nil // the farewell did not get through; the stream is closed all the same
		}
		l.closeErr = err
	})
	return l.closeErr
}

// LocalAddr returns the raw stream's address at this end.
func (l *Link) LocalAddr() net.Addr { return l.carrier.LocalAddr() }

// RemoteAddr returns the raw stream's address at the other end.
func (l *Link) RemoteAddr() net.Addr { return l.carrier.RemoteAddr() }

// SetDeadline sets both deadlines.
func (l *Link) SetDeadline(t time.Time) error {
	return errors.Join(l.SetReadDeadline(t), l.SetWriteDeadline(t))
}

// SetReadDeadline sets when a Read gives up with os.ErrDeadlineExceeded.
func (l *Link) SetReadDeadline(t time.Time) error {
	if l.kernel != nil {
		return l.kernel.SetReadDeadline(t)
	}
	return l.conn.SetReadDeadline(t)
}

// SetWriteDeadline sets when a Write gives up with os.ErrDeadlineExceeded, which ends the writing half.
func (l *Link) SetWriteDeadline(t time.Time) error {
	if l.kernel != nil {
		return l.kernel.SetWriteDeadline(t)
	}
	return l.conn.SetWriteDeadline(t)
}
