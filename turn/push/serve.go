package push

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"traverse.internal/core/pushwire"
)

// Times. A device sends a Ping each 25 s.
const (
	DeviceIdle = 75 * time.Second // a registered connection that says nothing for so long is closed: three pings
	CallerIdle = 35 * time.Second // any other: its request was answered by then, or will not be
	callerLife = 2 * time.Minute  // of a connection that is not registered, whatever it says
	writeTime  = 10 * time.Second // to write what waits: how long the relay keeps a request at the longest
	maxQueue   = 32               // frames that wait for one connection: 64 KiB of the largest
)

// Peer is who a connection is from, as far as TLS and the caller's tables know.
type Peer struct {
	Source netip.Addr
	Realm  string // of the passwords

	// Authenticate says which user a Register frame proves to be: its account, the frame's instance or, for who can have one connection only,
	// none, and the relay's own proof.
	Authenticate func(pushwire.Frame) (account string, instance pushwire.Instance, proof pushwire.Proof, ok bool)

	// Known is called once, when the connection is a user's.
	Known func()
}

var errBad = errors.New("push: what came is no part of this conversation")

// Serve speaks with a device or a caller until the connection ends, and closes it. The error is nil after an orderly end.
func (h *Hub) Serve(nc net.Conn, p Peer) error {
	out := &outbox{conn: nc}
	c := &conn{source: p.Source, out: out}
	defer func() {
		h.leave(c)
		out.close()
		out.tasks.Wait()
		_ = nc.Close()
	}()
	out.readUntil(time.Now().Add(CallerIdle))
	out.send(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Hello, Realm: p.Realm}))
	began, frames := time.Now(), bucket{}
	for in := pushwire.NewReader(nc); ; {
		f, err := in.Next()
		now := time.Now()
		if err == nil && !frames.take(frameRate, now) {
			err = errBad
		}
		if err == nil {
			err = h.frame(now, c, f, p)
		}
		switch {
		case errors.Is(err, errBad), errors.Is(err, pushwire.ErrFrame):
			h.stats.bad.Add(1)
			return err
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		end := now.Add(CallerIdle)
		if life := began.Add(callerLife); end.After(life) {
			end = life
		}
		if h.isRegistered(c) {
			end = now.Add(DeviceIdle)
		}
		out.readUntil(end)
	}
}

func (h *Hub) isRegistered(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return c.registered
}

// frame deals with one frame; what it returns ends the connection.
func (h *Hub) frame(now time.Time, c *conn, f pushwire.Frame, p Peer) error {
	switch f.Kind {
	case pushwire.Register:
		account, instance, proof, ok := p.Authenticate(f)
		verdict := pushwire.Refused
		if ok {
			verdict = h.register(c, account, instance)
		}
		if verdict != pushwire.Accepted {
			h.stats.refused.Add(1)
			proof = pushwire.Proof{}
		}
		c.out.send(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Registered, Verdict: verdict, Proof: proof}))
		if verdict != pushwire.Accepted {
			return io.EOF
		}
		p.Known()
	case pushwire.Mailboxes:
		if !h.mailboxes(now, c, f.Tokens, f.More) {
			return errBad
		}
	case pushwire.HandIn:
		result := h.handIn(now, c, f)
		if !c.out.send(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Outcome, Tag: f.Tag, Result: result})) {
			return errBad // who asks and does not read
		}
	case pushwire.Answer:
		h.answer(now, c, f)
	case pushwire.Ping:
		c.out.send(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Pong}))
	default:
		if f.Kind.Known() {
			return errBad // the relay's own words
		}
	}
	return nil
}

// outbox is what waits to be written to a connection. A goroutine writes it, which there is only while something waits.
type outbox struct {
	conn net.Conn

	mu      sync.Mutex // guards the fields below
	queue   [][]byte
	writing bool
	closed  bool
	tasks   sync.WaitGroup
}

func (o *outbox) send(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.queue) >= maxQueue {
		return false
	}
	o.queue = append(o.queue, frame)
	if !o.writing {
		o.writing = true
		o.tasks.Go(o.writeLoop)
	}
	return true
}

// writeLoop writes what waits, all of it with one call.
func (o *outbox) writeLoop() {
	for {
		o.mu.Lock()
		var all []byte
		for _, b := range o.queue {
			all = append(all, b...)
		}
		o.queue = nil
		if len(all) == 0 {
			o.writing = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		_ = o.conn.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := o.conn.Write(all); err != nil {
			o.mu.Lock()
			o.queue, o.writing = nil, false
			o.closeLocked()
			o.mu.Unlock()
			return
		}
	}
}

// readUntil sets how long the reader may wait.
func (o *outbox) readUntil(end time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		_ = o.conn.SetReadDeadline(end)
	}
}

// close takes nothing more and has the reader return. What waits is still written.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked()
}

func (o *outbox) closeLocked() {
	o.closed = true
	_ = o.conn.SetReadDeadline(time.Unix(1, 0)) // closing a TLS connection writes, and may wait
}
