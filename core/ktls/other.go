//go:build !linux

package ktls

import (
	"net"
	"time"
)

// Built is false: there is no code for the system's kernel.
const Built = false

// Available is false where the kernel has no TLS.
func Available() bool {
	probed.Store(probedNo)
	return false
}

// Attach returns ErrUnavailable.
func Attach(*net.TCPConn, *Secrets, bool, uint64, uint64) (*Conn, error) {
	Stay(NoKernel)
	return nil, ErrUnavailable
}

// A Conn is a socket whose records the kernel seals and opens. There are none here.
type Conn struct{ tcp *net.TCPConn }

// TCP returns the socket.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// Read is the socket's.
func (c *Conn) Read(p []byte) (int, error) { return c.tcp.Read(p) }

// Write is the socket's.
func (c *Conn) Write(p []byte) (int, error) { return c.tcp.Write(p) }

// CloseWrite is the socket's.
func (c *Conn) CloseWrite() error { return c.tcp.CloseWrite() }

// Close is the socket's.
func (c *Conn) Close() error { return c.tcp.Close() }

// SetReadDeadline is the socket's.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.tcp.SetReadDeadline(t) }

// SetWriteDeadline is the socket's.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }
