package tls

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/ktls"
)

const (
	recordHeader   = 5                                // type, version, length (RFC 8446 §5.1)
	recordOverhead = recordHeader + 1 + 16            // and inside: content type, AEAD tag
	gatherLimit    = 8 * (maxRecord + recordOverhead) // 131,248: eight full records, 128 KiB of plaintext
	readBuffer     = 64 << 10                         // four records a system call
)

var gatherPool = sync.Pool{New: func() any {
	b := make([]byte, 0, gatherLimit)
	return &b
}}

// A carrier stands between crypto/tls and the raw stream: it puts back bytes already read, reads record by record
// until the handshake is over, and gathers the records of one Write.
type carrier struct {
	raw net.Conn

	records ktls.RecordReader // reads head, then raw
	in      *bufio.Reader     // over records.Source, nil until the handshake is over; then only Read uses it

	mu      sync.Mutex // held over the raw write: the order of records is the order on the wire
	pending *[]byte    // records gathered, nil when not gathering
	err     error      // of the first raw write that failed; nothing can follow it

	hurried atomic.Bool // closing: write deadlines are at most closeWait away
}

func newCarrier(raw net.Conn, head []byte) *carrier {
	c := &carrier{raw: raw, records: ktls.RecordReader{Source: raw}}
	if len(head) > 0 {
		c.records.Source = &headReader{head: head, raw: raw}
	}
	return c
}

// established ends reading record by record. Call it once, before anyone but the handshake reads.
func (c *carrier) established() { c.in = bufio.NewReaderSize(c.records.Source, readBuffer) }

// exact tells whether everything that was read has been used: what follows is still in the kernel.
func (c *carrier) exact() bool {
	head, put := c.records.Source.(*headReader)
	_, exact := c.records.Whole()
	return exact && !(put && len(head.head) > 0)
}

func (c *carrier) Read(p []byte) (n int, err error) {
	if c.in != nil {
		n, err = c.in.Read(p)
	} else {
		n, err = c.records.Read(p)
	}
	if errors.Is(err, io.EOF) {
		err = ErrTruncated // an end that counts comes inside, as close_notify
	}
	return n, err
}

// Write takes one or more whole records. Alerts and key updates come from the reading goroutine, also between gather
// and flush; they keep their place among the gathered records.
func (c *carrier) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.pending == nil {
		var n int
		n, c.err = c.raw.Write(p)
		return n, c.err
	}
	if len(*c.pending)+len(p) > gatherLimit {
		if err := c.emptyLocked(); err != nil {
			return 0, err
		}
	}
	*c.pending = append(*c.pending, p...)
	return len(p), nil
}

// gather makes the following records wait for flush or for the buffer to be full.
func (c *carrier) gather() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = gatherPool.Get().(*[]byte)
}

// flush writes what was gathered and ends gathering.
func (c *carrier) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.emptyLocked()
	gatherPool.Put(c.pending)
	c.pending = nil
	return err
}

func (c *carrier) emptyLocked() error {
	if c.err == nil && len(*c.pending) > 0 {
		_, c.err = c.raw.Write(*c.pending)
	}
	*c.pending = (*c.pending)[:0]
	return c.err
}

// hurry bounds the deadline that crypto/tls sets for its close_notify.
func (c *carrier) hurry() { c.hurried.Store(true) }

func (c *carrier) SetWriteDeadline(t time.Time) error {
	if soon := time.Now().Add(closeWait); c.hurried.Load() && (t.IsZero() || t.After(soon)) {
		t = soon
	}
	return c.raw.SetWriteDeadline(t)
}

func (c *carrier) Close() error                      { return c.raw.Close() }
func (c *carrier) LocalAddr() net.Addr               { return c.raw.LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr              { return c.raw.RemoteAddr() }
func (c *carrier) SetDeadline(t time.Time) error     { return c.raw.SetDeadline(t) }
func (c *carrier) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// A headReader reads head, then raw. (io.MultiReader would hand out head as a short read too, but keep no bound.)
type headReader struct {
	head []byte
	raw  io.Reader
}

func (r *headReader) Read(p []byte) (int, error) {
	if len(r.head) == 0 {
		return r.raw.Read(p)
	}
	n := copy(p, r.head)
	r.head = r.head[n:]
	return n, nil
}
