package relay

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/pushwire"
)

// Times of a connection.
const (
	dialTime  = 5 * time.Second // for TCP and TLS
	replyTime = 5 * time.Second // for the relay's next word where one is due
	writeTime = 5 * time.Second
)

// maxUnknown frames of later versions may stand before one that is due.
const maxUnknown = 16

// maxWaiting are hand-ins over one connection that wait: a device calls as many contacts as it likes, and forgets when it is done.
const maxWaiting = 256

var (
	errNoPush  = errors.New("it does not push")
	errWaiting = errors.New("too many requests wait already")
	errSilent  = fmt.Errorf("it says nothing: %w", os.ErrDeadlineExceeded)
)

// link is a connection to a relay. One goroutine reads it.
type link struct {
	conn  *stdtls.Conn
	at    netip.AddrPort
	in    *pushwire.Reader
	heard atomic.Int64

	writing sync.Mutex // held while a frame is written

	mu      sync.Mutex // guards the field below
	waiting map[pushwire.Tag]chan pushwire.Frame

	ended chan struct{} // closed when the reader has ended
	err   error         // after ended
}

// dial connects to a relay.
func dial(ctx context.Context, address string, config *stdtls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}} // pings are ours
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := stdtls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		var alert stdtls.AlertError
		var record stdtls.RecordHeaderError
		if errors.As(err, &alert) || errors.As(err, &record) {
			return nil, fmt.Errorf("%w: %w", errNoPush, err)
		}
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol != pushwire.ALPN {
		_ = raw.Close()
		return nil, errNoPush
	}
	l := &link{
		conn: conn, at: addrOf(raw.RemoteAddr()), in: pushwire.NewReader(conn),
		waiting: map[pushwire.Tag]chan pushwire.Frame{}, ended: make(chan struct{}),
	}
	l.heard.Store(time.Now().UnixNano())
	return l, nil
}

// unvouched is the configuration of a link to a relay that is somebody else's, or that has to show that it knows the password. No authority vouches for it: what goes
// over it is sealed, and a mailbox is worth nothing to others. Who sits between can drop, as anybody on the way can.
func unvouched() *stdtls.Config {
	return &stdtls.Config{MinVersion: stdtls.VersionTLS13, NextProtos: []string{pushwire.ALPN}, InsecureSkipVerify: true} //nolint:gosec // see above
}

// write writes a frame.
func (l *link) write(f pushwire.Frame) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := l.conn.Write(pushwire.Append(nil, f))
	if err != nil {
		l.kill() // a part of a frame may be out
	}
	return err
}

// next reads one frame of the beginning, before readLoop runs.
func (l *link) next(kind pushwire.Kind) (pushwire.Frame, error) {
	_ = l.conn.SetReadDeadline(time.Now().Add(replyTime))
	f, err := l.in.Next()
	for n := 0; err == nil && !f.Kind.Known() && n < maxUnknown; n++ {
		f, err = l.in.Next()
	}
	if err == nil && f.Kind != kind {
		err = fmt.Errorf("%w: kind %d in the place of %d", pushwire.ErrFrame, f.Kind, kind)
	}
	_ = l.conn.SetReadDeadline(time.Time{})
	return f, err
}

// readLoop reads until the connection ends. Requests that were pushed go to push; nil: this link is a caller's.
func (l *link) readLoop(push func(pushwire.Frame)) {
	defer close(l.ended)
	for {
		f, err := l.in.Next()
		if err != nil {
			l.err = err
			return
		}
		l.heard.Store(time.Now().UnixNano())
		switch f.Kind {
		case pushwire.Push:
			if push != nil {
				push(f)
			}
		case pushwire.Outcome, pushwire.Answer:
			l.hand(f)
		}
	}
}

// hand gives what came to who waits for it.
func (l *link) hand(f pushwire.Frame) {
	f.Sealed = append([]byte(nil), f.Sealed...)
	l.mu.Lock()
	wait := l.waiting[f.Tag]
	l.mu.Unlock()
	select {
	case wait <- f:
	default: // nobody waits, or has more than it asked for
	}
}

// expect registers who waits for what comes with a tag: an outcome and an answer.
func (l *link) expect(t pushwire.Tag) (<-chan pushwire.Frame, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return nil, errWaiting
	}
	wait := make(chan pushwire.Frame, 2)
	l.waiting[t] = wait
	return wait, nil
}

func (l *link) forget(t pushwire.Tag) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, t)
}

// kill has the reader end, without waiting.
func (l *link) kill() { _ = l.conn.NetConn().Close() }
