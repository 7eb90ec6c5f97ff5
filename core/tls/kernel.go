package tls

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	stdtls "crypto/tls"

	"traverse.internal/core/ktls"
	"traverse.internal/core/zerocopy"
)

// ErrKeyLimit is what Write returns when the link's key has sealed as many records as one may (RFC 8446 §5.5). The
// session above moves to another link.
var ErrKeyLimit = errors.New("tls: key has sealed all it may, a new link is needed")

// A move is the record layer's way into the kernel. Nil: there is none.
type move struct {
	tcp     *net.TCPConn
	secrets ktls.Secrets
}

// prepareMove looks whether the connection can go, and has its secrets kept if so.
func prepareMove(raw net.Conn, config *stdtls.Config) *move {
	tcp, bare := raw.(*net.TCPConn)
	if !bare {
		ktls.Stay(ktls.NoSocket)
		return nil
	}
	if !ktls.Available() {
		ktls.Stay(ktls.NoKernel)
		return nil
	}
	m := &move{tcp: tcp}
	config.KeyLogWriter = &m.secrets
	return m
}

// attach moves the record layer to the kernel, or returns nil when it stays. Behind the handshake there is nothing: both
// sides have tickets off, so the next record in each direction is number 0.
func (m *move) attach(conn *stdtls.Conn, c *carrier, server bool) (*ktls.Conn, error) {
	if m == nil {
		return nil, nil
	}
	if state := conn.ConnectionState(); state.Version != stdtls.VersionTLS13 || state.CipherSuite != stdtls.TLS_AES_128_GCM_SHA256 {
		ktls.Stay(ktls.OtherSuite)
		return nil, nil
	}
	if !c.exact() {
		ktls.Stay(ktls.ReadAhead)
		return nil, nil
	}
	k, err := ktls.Attach(m.tcp, &m.secrets, server, 0, 0)
	if errors.Is(err, ktls.ErrUnavailable) {
		return nil, nil
	}
	return k, err
}

// InKernel tells whether the kernel seals and opens the link's records.
func (l *Link) InKernel() bool { return l.kernel != nil }

// SendsFiles tells whether SendFile moves a file's bytes without their passing through the program.
func (l *Link) SendsFiles() bool { return l.kernel != nil }

// SendFile writes head and then n bytes of file from offset on, as one Write of both would, and returns how many bytes
// have left. A *zerocopy.FileError says that the file has not got them; then the link goes on behind those that have
// left. Any other error ends the writing half. Only where SendsFiles.
func (l *Link) SendFile(head []byte, file *os.File, offset int64, n int) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.kernel == nil {
		return 0, errors.ErrUnsupported
	}
	if err := l.sealing(len(head) + n); err != nil {
		return 0, err
	}
	sent, err := zerocopy.SendFile(l.kernel.TCP(), head, file, offset, n)
	var short *zerocopy.FileError
	if err != nil && !errors.As(err, &short) {
		l.broken = err
	}
	return sent, err
}

// sealing counts the records of a write of n bytes.
func (l *Link) sealing(n int) error {
	if l.broken != nil {
		return l.broken
	}
	if l.ended {
		return fmt.Errorf("tls: write behind CloseWrite: %w", net.ErrClosed)
	}
	records := ktls.Records(n)
	if l.sealed+records > l.keyLimit {
		return ErrKeyLimit
	}
	l.sealed += records
	return nil
}

// kernelWrite is Write where the kernel seals.
func (l *Link) kernelWrite(p []byte) (int, error) {
	n, err := l.kernel.Write(p)
	if err != nil {
		l.broken = err // nobody can know how much of a record went out
	}
	return n, err
}

// kernelRead is Read where the kernel opens.
func (l *Link) kernelRead(p []byte) (int, error) {
	n, err := l.kernel.Read(p)
	var alert ktls.AlertError
	switch {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = ErrTruncated
	case errors.As(err, &alert):
		err = &RefusedError{Alert: uint8(alert)}
	}
	return n, err
}

// kernelClose says close_notify if there is room, and closes.
func (l *Link) kernelClose() error {
	_ = l.kernel.SetWriteDeadline(time.Now().Add(closeWait))
	if l.broken == nil && !l.ended {
		_ = l.kernel.CloseWrite() // the farewell may not get through; the stream is closed all the same
	}
	return l.kernel.Close()
}
