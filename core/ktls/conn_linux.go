package ktls

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Record types, RFC 8446 §5.1, and the control messages that carry them (linux/tls.h).
const (
	typeAlert = 21
	typeData  = 23

	setRecordType = 1
	getRecordType = 2
)

// Alerts, RFC 8446 §6: level and description.
const (
	levelWarning = 1
	levelFatal   = 2

	closeNotify       = 0
	unexpectedMessage = 10
	badRecordMAC      = 20
)

// A Conn is a socket whose records the kernel seals and opens. Reads and writes do not disturb each other.
type Conn struct {
	tcp *net.TCPConn
	raw syscall.RawConn

	reading sync.Mutex // guards the fields below
	header  unix.Msghdr
	vector  unix.Iovec
	control [32]byte // of one message with one byte, CMSG_SPACE(1) is 24
	got     int
	errno   syscall.Errno
	receive func(fd uintptr) bool // c.tryReceive
	ended   error                 // what every later Read returns
}

func newConn(tcp *net.TCPConn, raw syscall.RawConn) *Conn {
	c := &Conn{tcp: tcp, raw: raw}
	c.receive = c.tryReceive
	return c
}

// TCP returns the socket: what is written to it, or sent with sendfile, is sealed. It is not for reading, which fails at
// the first record that is not data.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// Read reads what the peer wrote, of one record or of several. It is io.EOF behind the peer's close_notify,
// io.ErrUnexpectedEOF when the connection ends without; AlertError, ErrRecord and ErrHandshake say the rest. A deadline
// that passes does no harm.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.ended != nil {
		return 0, c.ended
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := c.receiveLocked(p); err != nil {
			return 0, err
		}
		kind, marked := c.recordType()
		switch {
		case marked && kind == typeData && c.got == 0: // an empty record
		case marked && kind == typeData:
			return c.got, nil
		case marked && kind == typeAlert:
			return 0, c.alerted(p[:c.got])
		case marked:
			return 0, c.refuse(ErrHandshake, unexpectedMessage)
		case c.got == 0:
			c.ended = io.ErrUnexpectedEOF
			return 0, c.ended
		default:
			return c.got, nil
		}
	}
}

// receiveLocked waits for something to come and leaves its length in got.
func (c *Conn) receiveLocked(p []byte) error {
	c.vector.Base = &p[0]
	c.vector.SetLen(len(p))
	err := c.raw.Read(c.receive)
	c.vector.Base = nil
	switch c.errno {
	case 0:
		return err
	case unix.EBADMSG, unix.EMSGSIZE, unix.EINVAL:
		return c.refuse(ErrRecord, badRecordMAC)
	}
	return &net.OpError{Op: "read", Net: "tcp", Addr: c.tcp.RemoteAddr(), Err: c.errno}
}

// tryReceive is one recvmsg; false means that nothing is there.
func (c *Conn) tryReceive(fd uintptr) bool {
	c.errno = 0
	c.header = unix.Msghdr{Iov: &c.vector, Control: &c.control[0]}
	c.header.SetIovlen(1)
	c.header.SetControllen(len(c.control))
	for {
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&c.header)), unix.MSG_DONTWAIT)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		c.got, c.errno = int(n), errno
		if errno != 0 {
			c.got = 0
		}
		return true
	}
}

// recordType returns the type of the record that was read, if the kernel said one.
func (c *Conn) recordType() (kind byte, ok bool) {
	if int(c.header.Controllen) < unix.CmsgLen(1) {
		return 0, false
	}
	head := (*unix.Cmsghdr)(unsafe.Pointer(&c.control[0]))
	if head.Level != solTLS || head.Type != getRecordType {
		return 0, false
	}
	return c.control[unix.CmsgLen(0)], true
}

// alerted ends reading with the peer's alert.
func (c *Conn) alerted(alert []byte) error {
	if len(alert) == 0 {
		return c.refuse(ErrRecord, unexpectedMessage)
	}
	description := alert[len(alert)-1]
	if len(alert) == 1 { // the reader's buffer had one byte: the rest is still there
		rest := make([]byte, 1)
		if err := c.receiveLocked(rest); err != nil {
			return err
		}
		description = rest[0]
	}
	if description == closeNotify {
		c.ended = io.EOF
		return io.EOF
	}
	totals.alerts.Add(1)
	c.ended = AlertError(description)
	return c.ended
}

// refuse ends reading because of what the peer sent, and tells it, if there is room to.
func (c *Conn) refuse(err error, alert byte) error {
	totals.bad.Add(1)
	c.ended = err
	_ = c.raw.Control(func(fd uintptr) {
		_, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) // takes the record's error off the socket
		_ = sendAlert(fd, levelFatal, alert)
	})
	return err
}

// Write writes p in records of 16 KiB.
func (c *Conn) Write(p []byte) (int, error) { return c.tcp.Write(p) }

// CloseWrite sends close_notify behind what was written. The connection stays open in both directions. It waits for
// room until the write deadline.
func (c *Conn) CloseWrite() error {
	var errno error
	err := c.raw.Write(func(fd uintptr) bool {
		errno = sendAlert(fd, levelWarning, closeNotify)
		return errno != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return errno
}

// sendAlert sends a record with an alert, or returns EAGAIN.
func sendAlert(fd uintptr, level, description byte) error {
	var control [32]byte
	fillRecordType(&control, typeAlert)
	for {
		_, err := unix.SendmsgN(int(fd), []byte{level, description}, control[:unix.CmsgSpace(1)], nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// fillRecordType makes the control message that gives a record its type.
func fillRecordType(control *[32]byte, kind byte) {
	head := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	head.Level, head.Type = solTLS, setRecordType
	head.SetLen(unix.CmsgLen(1))
	control[unix.CmsgLen(0)] = kind
}

// Close closes the socket, without a close_notify.
func (c *Conn) Close() error { return c.tcp.Close() }

// SetReadDeadline sets when a Read gives up with os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.tcp.SetReadDeadline(t) }

// SetWriteDeadline sets when a Write gives up with os.ErrDeadlineExceeded; nothing may be written after that.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tcp.SetWriteDeadline(t) }
