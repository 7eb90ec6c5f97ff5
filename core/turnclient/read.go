package turnclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"traverse.internal/core/stun"
)

// scratchLen has room for every frame that is handed on without being kept: an indication with a datagram, and what a server may add.
const scratchLen = maxFrame

// maxSilence is how many errors of a UDP socket in a row end the client: each tells of one of our datagrams that came back, as
// where nobody listens.
const maxSilence = 3

// readLoop hands responses to those who wait for them, indications to the allocation and datagrams to its receiver, until the
// control connection ends. It never blocks on any of them.
func (c *Client) readLoop() {
	read := c.readStream
	if c.cfg.UDP {
		read = c.readPackets
	}
	c.fail(failure(context.Background(), c.server, "control connection", read()))
}

// readStream takes frames off TCP or TLS.
func (c *Client) readStream() error {
	r := bufio.NewReader(c.conn)
	scratch := make([]byte, scratchLen)
	for {
		if err := c.readOne(r, scratch); err != nil {
			return err
		}
	}
}

// readOne reads one frame and hands it on.
func (c *Client) readOne(r *bufio.Reader, scratch []byte) error {
	a := c.datagrams.Load()
	if a == nil { // then nothing but STUN is expected
		b, err := readFrame(r)
		if err != nil {
			return err
		}
		return c.message(b)
	}
	head, err := r.Peek(4)
	if err != nil {
		return closedEarly(err)
	}
	kind := stun.KindOf(head[0])
	if kind == stun.KindSTUN {
		if head, err = r.Peek(stun.HeaderLen); err != nil {
			return closedEarly(err)
		}
	}
	n, _, err := stun.StreamFrameLen(head)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	if n > len(scratch) {
		if kind == stun.KindSTUN && (head[0] != 0 || head[1] != dataIndication) {
			return ErrGarbage
		}
		a.dropped.in.Add(1) // a peer may send what we do not take
		_, err := r.Discard(n)
		return closedEarly(err)
	}
	b := scratch[:n]
	if _, err := io.ReadFull(r, b); err != nil {
		return closedEarly(err)
	}
	return c.frame(a, b)
}

// dataIndication is the second byte of a Data indication; its first is 0 (RFC 8656 §18).
const dataIndication = 0x17

// readPackets takes datagrams off UDP, each of which is one frame. What is none is dropped: anybody can send it.
func (c *Client) readPackets() error {
	scratch := make([]byte, 64<<10)
	for silent := 0; ; {
		n, err := c.conn.Read(scratch)
		if err != nil {
			if silent++; c.life.Err() != nil || silent == maxSilence {
				return err
			}
			continue
		}
		silent = 0
		if n == 0 || c.frame(c.datagrams.Load(), scratch[:n]) != nil {
			c.stats.stray.Add(1)
		}
	}
}

// frame hands on one frame whose bytes are used again. a is nil as long as there is no UDP allocation.
func (c *Client) frame(a *UDPAllocation, b []byte) error {
	if stun.KindOf(b[0]) == stun.KindChannelData {
		if a == nil {
			return ErrGarbage
		}
		a.channelData(b)
		return nil
	}
	if a != nil && len(b) >= stun.HeaderLen && b[0] == 0 && b[1] == dataIndication {
		m, err := stun.Parse(b)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrGarbage, err)
		}
		a.indicated(m)
		return nil
	}
	if len(b) > maxFrame {
		return ErrGarbage
	}
	return c.message(append([]byte(nil), b...))
}

// message delivers a STUN message.
func (c *Client) message(b []byte) error {
	m, err := stun.Parse(b)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	c.deliver(m)
	return nil
}

// readFrame reads exactly one message and not a byte more.
func readFrame(r io.Reader) ([]byte, error) {
	b := make([]byte, stun.HeaderLen, 128)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, closedEarly(err)
	}
	n, _, err := stun.StreamFrameLen(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	if stun.KindOf(b[0]) != stun.KindSTUN || n > maxFrame {
		return nil, ErrGarbage
	}
	b = append(b, make([]byte, n-len(b))...)
	if _, err := io.ReadFull(r, b[stun.HeaderLen:]); err != nil {
		return nil, closedEarly(err)
	}
	return b, nil
}

// closedEarly makes every end of a stream that should go on an io.ErrUnexpectedEOF, because io.EOF would read as a
// regular end.
func closedEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
