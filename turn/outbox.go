package turn

import (
	"sync"
	"time"

	"traverse.internal/turn/alloc"
)

// outbox is the writing half of a stream.
type outbox struct {
	mu      sync.Mutex // guards the fields below; held during writes, which never block
	pending []byte     // what the kernel did not take
	writing bool       // a goroutine writes the backlog
	closed  bool
	writer  streamWriter
	idle    sync.Cond // writing became false
}

// sendData sends a frame, or drops it and says false: because the client does not read, and too much waits already.
func (st *stream) sendData(frame []byte) bool {
	return st.send(frame, st.server.config.StreamBacklog)
}

// sendControl sends an answer. When even the room for those is full it closes the connection, and says false.
func (st *stream) sendControl(frame []byte) bool {
	if st.send(frame, st.server.config.StreamBacklog+controlRoom) {
		return true
	}
	_ = st.tcp.Close()
	return false
}

func (st *stream) send(frame []byte, limit int) bool {
	o := &st.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.pending)+len(frame) > limit {
		return false
	}
	if !o.writing {
		n, err := st.tryWrite(frame)
		if err != nil {
			o.closed = true
			return false
		}
		if n == len(frame) {
			return true
		}
		frame = frame[n:]
		o.writing = true
		st.server.tasks.Go(st.writeLoop)
	}
	o.pending = append(o.pending, frame...)
	return true
}

// writeLoop writes the backlog and ends when there is none.
func (st *stream) writeLoop() {
	o := &st.out
	for {
		o.mu.Lock()
		chunk := o.pending
		o.pending = nil
		if len(chunk) == 0 || o.closed {
			o.writing = false
			o.idle.Broadcast()
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		_ = st.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := st.writeBacklog(chunk); err != nil {
			o.mu.Lock()
			o.closed = true
			o.mu.Unlock()
			_ = st.tcp.Close()
		}
	}
}

// writeLast writes the answer to a ConnectionBind, after which the connection belongs to the peer. Nothing may wait before
// it: a client that did not even read the answers so far is not served. When it fails the peer's connection is closed.
func (st *stream) writeLast(answer []byte, c *alloc.Conn) error {
	o := &st.out
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := 0, error(errFrame)
	for st.secure != nil && o.writing { // its answers always wait a little; writeLoop's deadline ends this
		o.idle.Wait()
	}
	switch {
	case o.writing || o.closed:
	case st.secure != nil: // nobody else writes: it has no allocation
		_ = st.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		n, err = st.conn.Write(answer)
	default:
		n, err = st.tryWrite(answer)
	}
	o.closed = true // nothing of ours goes out behind it
	if err == nil && n == len(answer) {
		return nil
	}
	relayOf(c.Alloc).shard.dropConn(c)
	if err == nil {
		err = errFrame
	}
	return err
}
