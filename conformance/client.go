package conformance

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"traverse.internal/core/stun"
)

// client is one 5-tuple. It belongs to one goroutine.
type client struct {
	p         *probe
	conn      net.Conn
	tcp       bool
	cred      credentials
	allocated bool
	closed    bool
	aside     [][]byte // frames that came while another was waited for
	buf       []byte   // beginning of a frame, on TCP
}

// maxAside bounds the frames that wait: 10,000 small ones, or 4 MB of full packets.
const maxAside = 10_000

// errEnded is the end of the connection by the server.
var errEnded = errors.New("the connection was closed")

// dial opens a 5-tuple on the check's transport.
func (p *probe) dial() *client {
	if p.tcp {
		return p.dialTCP()
	}
	return p.dialUDP()
}

func (p *probe) dialUDP() *client {
	return p.dialFrom(false, netip.AddrPort{})
}

func (p *probe) dialTCP() *client {
	return p.dialFrom(true, netip.AddrPort{})
}

// dialFrom opens a 5-tuple from an address of ours, or from any.
func (p *probe) dialFrom(tcp bool, from netip.AddrPort) *client {
	c := &client{p: p, tcp: tcp, cred: credentials{user: p.config.User, password: p.config.Password}}
	d := net.Dialer{Timeout: p.config.Wait}
	transport := "udp"
	if tcp {
		transport = "tcp"
		if from.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
	} else if from.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(from)
	}
	conn, err := d.DialContext(p.ctx, transport, p.server.String())
	if err != nil {
		p.skipf("cannot reach the server over %s: %v", transport, err)
	}
	c.conn = conn
	if tcp && p.config.Secure {
		c.conn = p.secure(conn)
	}
	if !tcp && p.config.Datagrams {
		c.conn = p.secureDatagrams(conn)
	}
	p.atEnd(c.end)
	return c
}

// end gives the allocation back and closes the socket.
func (c *client) end() {
	if c.closed {
		return
	}
	c.closed = true
	if c.allocated {
		if c.send(c.signed(stun.MethodRefresh, withLifetime(0))) == nil {
			_, _ = c.await(300*time.Millisecond, func(f []byte) bool { return isAnswer(f, stun.MethodRefresh) })
		}
	}
	c.conn.Close()
}

// drop closes the socket without a word.
func (c *client) drop() {
	c.closed = true
	c.conn.Close()
}

func (c *client) local() netip.AddrPort { return addrPort(c.conn.LocalAddr()) }

func (c *client) send(raw []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.p.config.Wait))
	_, err := c.conn.Write(raw)
	return err
}

// next returns the next datagram or frame from the socket.
func (c *client) next(end time.Time) ([]byte, error) {
	_ = c.conn.SetReadDeadline(end)
	if !c.tcp {
		var room [1 << 16]byte
		n, err := c.conn.Read(room[:])
		return bytes.Clone(room[:n]), err
	}
	for {
		n, need, err := stun.StreamFrameLen(c.buf)
		if err != nil {
			return nil, err
		}
		if need == 0 {
			frame := c.buf[:n]
			c.buf = nil
			return frame, nil
		}
		have := len(c.buf)
		c.buf = append(c.buf, make([]byte, need)...)
		k, err := io.ReadFull(c.conn, c.buf[have:])
		c.buf = c.buf[:have+k]
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, err
			}
			return nil, errEnded
		}
	}
}

// await returns the first frame that matches, among those put aside and those to come.
func (c *client) await(wait time.Duration, match func([]byte) bool) ([]byte, error) {
	for i, f := range c.aside {
		if match(f) {
			c.aside = append(c.aside[:i], c.aside[i+1:]...)
			return f, nil
		}
	}
	for end := time.Now().Add(wait); ; {
		f, err := c.next(end)
		if err != nil {
			return nil, err
		}
		if match(f) {
			return f, nil
		}
		if len(c.aside) < maxAside {
			c.aside = append(c.aside, f)
		}
	}
}

// exchange sends a request and returns the answer to it. On UDP it is sent again once, as clients do.
func (c *client) exchange(raw []byte) reply {
	id := stun.TransactionID(raw[8:stun.HeaderLen])
	waits := []time.Duration{c.p.config.Wait}
	if !c.tcp {
		waits = []time.Duration{c.p.config.Wait / 3, c.p.config.Wait * 2 / 3}
	}
	var err error
	for _, wait := range waits {
		if err = c.send(raw); err != nil {
			break
		}
		var f []byte
		if f, err = c.await(wait, func(f []byte) bool { return answers(f, id) }); err == nil {
			return replyOf(f)
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return reply{plain: "no answer"}
	}
	return reply{plain: err.Error()}
}

// answers says whether a frame is the response to the transaction.
func answers(f []byte, id stun.TransactionID) bool {
	return stun.IsMessage(f) && f[0]&1 == 1 && stun.TransactionID(f[8:stun.HeaderLen]) == id
}

// isAnswer says whether a frame is a response of the method.
func isAnswer(f []byte, m stun.Method) bool {
	msg, err := stun.Parse(f)
	return err == nil && msg.Type().Method == m && msg.Type().Class&2 != 0
}

// binding asks for the mapped address, which every server answers.
func (c *client) binding(attrs ...attr) reply {
	return c.exchange(build(stun.MethodBinding.Request(), attrs...))
}

// silent sends what has to be dropped, then what has to be answered, and ends the check when anything comes before.
func (c *client) silent(what string, raws ...[]byte) {
	for _, raw := range raws {
		c.p.must(c.send(raw))
	}
	proof := build(stun.MethodBinding.Request())
	id := stun.TransactionID(proof[8:stun.HeaderLen])
	c.p.must(c.send(proof))
	f, err := c.await(c.p.config.Wait, func([]byte) bool { return true })
	switch {
	case err != nil:
		c.p.failf("%s: afterwards the server does not answer a Binding request: %v", what, err)
	case !answers(f, id):
		c.p.failf("%s: expected silence, got %s", what, nameOf(f))
	}
}

// nameOf says what a frame is.
func nameOf(f []byte) string {
	if m, err := stun.Parse(f); err == nil {
		name := m.Type().String()
		if code, _, err := m.ErrorCode(); err == nil {
			name += " " + code.String()
		}
		return name
	}
	if _, _, err := stun.ParseChannelData(f); err == nil {
		return "ChannelData"
	}
	return "bytes that are neither STUN nor ChannelData"
}
