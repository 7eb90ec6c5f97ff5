package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"traverse.internal/core/treehash"
)

// A sink is where a body goes: a [part], or a share of one.
type sink interface {
	list() *manifest
	missing(n uint32) bool // chunk n is one that is to come
	toCome() int64         // bytes, at most
	write(i int, n uint32, at int64, b []byte) error
	verified(i int, n uint32, sum Digest) error // chunk n of entry i is right
	whole(want Digest) (Digest, error)          // compares the digest over everything; what is wrong then is errBad
	flush()                                     // at the end of a block
}

// A consumer takes the bytes of the body, in blocks of any length, checks them and stores them.
type consumer struct {
	to    sink
	meter meter
	in    chan block
	free  chan *[blockSize]byte
	over  chan struct{} // closed when it takes no more, for good or ill

	head  []byte // of a record, or its digest, as far as it has come
	want  int    // bytes of it
	entry int
	num   uint32
	at    int64 // in the file, of what comes next
	left  int64 // of the chunk
	hash  *treehash.Hash
	phase int
	root  Digest
	err   error

	unnoted int64 // bytes of whole chunks since the last flush
}

// What comes next.
const (
	atKind = iota
	atNumber
	atBytes
	atSum
	atRoot
	atEnd
)

// errShort is the end of the stream before the end of the body.
var errShort = errors.New("transfer: the body ended early")

func startConsumer(to sink, m meter) *consumer {
	c := &consumer{
		to: to, meter: m, in: make(chan block, ringBlocks), free: make(chan *[blockSize]byte, ringBlocks), over: make(chan struct{}),
		hash: treehash.New(nil), want: 1,
	}
	for range min(ringBlocks, 1+to.toCome()/blockSize) {
		c.free <- blocks.Get().(*[blockSize]byte)
	}
	go c.storeLoop()
	return c
}

// end says that no more comes, waits for the goroutine, and returns the digest of the transfer.
func (c *consumer) end() (Digest, error) {
	close(c.in)
	<-c.over
	for b := range c.in {
		blocks.Put(b.buf)
	}
	close(c.free)
	for b := range c.free {
		blocks.Put(b)
	}
	if c.err == nil && c.phase != atEnd {
		c.err = errShort
	}
	return c.root, c.err
}

func (c *consumer) storeLoop() {
	defer close(c.over)
	for b := range c.in {
		c.err = c.take(b.buf[:b.n])
		c.flush()
		c.free <- b.buf
		if c.err != nil {
			return
		}
	}
}

func (c *consumer) take(b []byte) error {
	for len(b) > 0 {
		switch c.phase {
		case atBytes:
			n := min(c.left, int64(len(b)))
			if err := c.bytes(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		case atEnd:
			return protocolError("more than the body")
		default:
			n := min(c.want-len(c.head), len(b))
			c.head, b = append(c.head, b[:n]...), b[n:]
			if len(c.head) == c.want {
				if err := c.next(); err != nil {
					return err
				}
				c.head = c.head[:0]
			}
		}
	}
	return nil
}

func (c *consumer) flush() {
	c.to.flush()
	c.unnoted = 0
}

func (c *consumer) bytes(b []byte) error {
	if c.unnoted+int64(len(b)) > c.to.list().chunkLen { // who is killed now would lose more than a chunk
		c.flush()
	}
	if err := c.to.write(c.entry, c.num, c.at, b); err != nil {
		return err
	}
	c.hash.Write(b)
	c.meter.moved(int64(len(b)))
	c.at, c.left = c.at+int64(len(b)), c.left-int64(len(b))
	if c.left == 0 {
		c.phase, c.want = atSum, len(Digest{})
	}
	return nil
}

// next acts on a head that is whole.
func (c *consumer) next() error {
	switch c.phase {
	case atKind:
		switch c.head[0] {
		case recordChunk:
			c.phase, c.want = atNumber, 4
		case recordEnd:
			c.phase, c.want = atRoot, len(Digest{})
		default:
			return protocolError("a record of kind %d", c.head[0])
		}
	case atNumber:
		n, m := binary.BigEndian.Uint32(c.head), c.to.list()
		if n >= m.chunks() || !c.to.missing(n) {
			return protocolError("chunk %d, which is not missing", n)
		}
		if n < m.first[c.entry] {
			return protocolError("chunk %d after a later one", n)
		}
		for n >= m.first[c.entry+1] {
			c.entry++
		}
		c.num = n
		c.at, c.left = m.span(c.entry, n)
		c.hash.Reset()
		c.phase = atBytes
	case atSum:
		c.phase, c.want = atKind, 1
		sum := Digest(c.hash.Sum())
		if sum != Digest(c.head) {
			return &Error{Kind: ErrIntegrity, By: Local, Detail: fmt.Sprintf("chunk %d", c.num)}
		}
		c.meter.total.verified.Add(1)
		_, length := c.to.list().span(c.entry, c.num)
		c.unnoted += length
		return c.to.verified(c.entry, c.num, sum)
	case atRoot:
		return c.finish()
	}
	return nil
}

// finish compares the digest over everything.
func (c *consumer) finish() (err error) {
	c.phase = atEnd
	c.root, err = c.to.whole(Digest(c.head))
	return err
}
