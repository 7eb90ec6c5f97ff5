package service

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a flow: the datagrams between one local address and one service, which share a channel.
const (
	// DefaultFlowIdle ends a flow on which nothing moves: RFC 4787 REQ-5 has two minutes as the least for a NAT, which is what a flow is like.
	DefaultFlowIdle = 2 * time.Minute

	// What waits for a channel that is slower than its datagrams come. The oldest is dropped first: it is of the least use.
	queueDatagrams = 64
	queueBytes     = 128 << 10 // × maxFlows: 32 MiB for a forward at worst

	maxDatagram = 1<<16 - 1 // what the length says
	burstBytes  = 16 << 10  // of queued datagrams go out in one write
)

// A queue holds the datagrams that wait for a channel. Safe for concurrent use.
type queue struct {
	dropped *atomic.Uint64 // may be nil

	mu    sync.Mutex // guards the fields below
	list  [][]byte
	bytes int
	ready chan struct{} // has one entry while there is something to take
}

func newQueue(dropped *atomic.Uint64) *queue {
	return &queue{dropped: dropped, ready: make(chan struct{}, 1)}
}

// push adds a copy of a datagram, and drops the oldest ones when there are too many. It never blocks.
func (q *queue) push(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list, q.bytes = append(q.list, append([]byte(nil), b...)), q.bytes+len(b)
	for len(q.list) > queueDatagrams || q.bytes > queueBytes {
		q.bytes -= len(q.list[0])
		q.list = q.list[1:]
		if q.dropped != nil {
			q.dropped.Add(1)
		}
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take appends what waits to dst, each behind its length, up to about burstBytes.
func (q *queue) take(dst []byte) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for ; n < len(q.list) && (n == 0 || len(dst)+len(q.list[n]) <= burstBytes); n++ {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(q.list[n])))
		dst = append(dst, q.list[n]...)
		q.bytes -= len(q.list[n])
	}
	if q.list = q.list[n:]; len(q.list) > 0 {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return dst
}

// flow carries datagrams between a channel and whoever they are from and for.
type flow struct {
	ch      Stream
	queue   *queue
	deliver func([]byte) error // to the local side; what it cannot take is lost, as datagrams are
	o       Options
	moved   atomic.Bool // a datagram went since the last look
}

// run ends when the channel does, when nothing has moved for Options.Idle, which is no error, or with ctx. It starts two goroutines and waits for them.
func (f *flow) run(ctx context.Context) error {
	sent, received, over := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go f.sendLoop(over, sent)
	go f.receiveLoop(received)
	idle := time.NewTicker(max(f.o.Idle, time.Second))
	defer idle.Stop()
	var err error
	for running := true; running; {
		select {
		case err = <-received:
			received <- err
			running = false
		case err = <-sent:
			sent <- err
			running = false
		case <-ctx.Done():
			err = context.Cause(ctx)
			_ = f.ch.Reset(CodeEnded, err.Error())
			running = false
		case <-idle.C:
			running = f.moved.Swap(false)
		}
	}
	close(over)
	if ctx.Err() == nil && (err == nil || errors.Is(err, io.EOF)) {
		err = nil
		_ = f.ch.Close()
	}
	_ = f.ch.Reset(CodeEnded, "the flow has ended") // ends a write that waits for the other side, and a read; nothing where it is over
	<-sent
	<-received
	return err
}

// sendLoop writes what is queued.
func (f *flow) sendLoop(over <-chan struct{}, done chan<- error) {
	buf := make([]byte, 0, burstBytes)
	for {
		select {
		case <-f.queue.ready:
		case <-over:
			done <- nil
			return
		}
		if buf = f.queue.take(buf[:0]); len(buf) == 0 {
			continue
		}
		if _, err := f.ch.Write(buf); err != nil {
			done <- err
			return
		}
		f.moved.Store(true)
		if f.o.Out != nil {
			f.o.Out.Add(uint64(len(buf)))
		}
	}
}

// receiveLoop delivers what comes.
func (f *flow) receiveLoop(done chan<- error) {
	r, buf := bufio.NewReaderSize(f.ch, smallBuffer), make([]byte, 0, 2048)
	for {
		b, err := readDatagram(r, buf)
		if err != nil {
			done <- err
			return
		}
		buf = b[:0]
		f.moved.Store(true)
		if f.o.In != nil {
			f.o.In.Add(uint64(2 + len(b)))
		}
		_ = f.deliver(b) // nobody there, or no room: the other side's protocol is made for that
	}
}

// readDatagram reads one, into buf where it fits. io.EOF is the end in front of one.
func readDatagram(r io.Reader, buf []byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return buf[:n], nil
}

// JoinDatagrams carries datagrams between a channel and a connected UDP socket until nothing moves for Options.Idle, which is no error, or either side
// ends. It closes both. It starts a goroutine besides the flow's, and waits for it.
func JoinDatagrams(ctx context.Context, ch Stream, c net.Conn, o Options) error {
	f := &flow{ch: ch, queue: newQueue(nil), o: o, deliver: func(b []byte) error {
		_, err := c.Write(b)
		return err
	}}
	over := make(chan struct{})
	go readLoop(c, f.queue, over)
	err := f.run(ctx)
	c.Close()
	<-over
	return err
}

// readLoop queues what comes from a socket until it is closed. A refusal that the system reports (ICMP) is not its end.
func readLoop(c net.Conn, q *queue, over chan<- struct{}) {
	defer close(over)
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.Read(buf)
		switch {
		case err == nil:
			q.push(buf[:n])
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
			return
		}
	}
}
