package turn

import (
	"io"
	"net"
	"sync"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/ktls"
	"traverse.internal/core/stun"
)

// recordRoom is how much of a backlog goes to the kernel with one call: four of the largest records.
const recordRoom = 64 << 10

// recordConn is the TCP connection below TLS. Corked, it puts the records of many writes together for one call.
type recordConn struct {
	*net.TCPConn
	exact *exactReader // nil: reads what comes
	fin   bool         // the client's TCP stream has ended. The reader's alone

	mu     sync.Mutex // guards the fields below; held during writes, which are TLS's and one after the other anyway
	corked bool
	buf    *bufpool.Buf // nil: nothing waits
	have   int          // bytes of buf
	wrote  uint64       // records
}

func (c *recordConn) Read(b []byte) (n int, err error) {
	if c.exact == nil {
		n, err = c.TCPConn.Read(b)
	} else {
		n, err = c.exact.read(b)
	}
	c.fin = c.fin || err == io.EOF
	return n, err
}

func (c *recordConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote += ktls.CountRecords(b)
	if c.have+len(b) > recordRoom {
		if err := c.flushLocked(); err != nil {
			return 0, err
		}
	}
	if !c.corked || len(b) > recordRoom {
		return c.TCPConn.Write(b)
	}
	if c.buf == nil {
		c.buf = bufpool.Get(recordRoom)
	}
	c.have += copy(c.buf.Bytes()[c.have:], b)
	return len(b), nil
}

// cork lets writes wait for uncork.
func (c *recordConn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

func (c *recordConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	return c.flushLocked()
}

func (c *recordConn) flushLocked() error {
	if c.buf == nil {
		return nil
	}
	_, err := c.TCPConn.Write(c.buf.Bytes()[:c.have])
	c.buf.Release()
	c.buf, c.have = nil, 0
	return err
}

// writeBacklog writes frames. Over TLS each is a record of its own: there are clients, coturn's among them, that take a record for
// a message and lose what stands behind it.
func (st *stream) writeBacklog(frames []byte) error {
	if st.secure == nil {
		_, err := st.conn.Write(frames)
		return err
	}
	st.records.cork()
	var err error
	for len(frames) > 0 && err == nil {
		n, need, wrong := stun.StreamFrameLen(frames)
		if wrong != nil || need > 0 {
			n = len(frames) // cannot be: they are ours, and whole
		}
		_, err = st.secure.Write(frames[:n])
		frames = frames[n:]
	}
	if failed := st.records.uncork(); err == nil {
		err = failed
	}
	return err
}
