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

// tcpPeer is somebody to connect to.
type tcpPeer struct {
	p        *probe
	listener *net.TCPListener
	addr     netip.AddrPort
}

func (p *probe) tcpPeerFor(relayed netip.AddrPort) *tcpPeer {
	ip := p.peerIP(stun.FamilyOf(relayed.Addr()))
	l, err := net.ListenTCP(network("tcp", ip), net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	p.must(err)
	p.atEnd(func() { l.Close() })
	return &tcpPeer{p, l, addrPort(l.Addr())}
}

// accept takes the connection that the server makes.
func (t *tcpPeer) accept() *pipe {
	_ = t.listener.SetDeadline(time.Now().Add(t.p.config.Wait))
	conn, err := t.listener.AcceptTCP()
	if err != nil {
		t.p.failf("the peer expected a connection, got none: %v", err)
	}
	t.p.atEnd(func() { conn.Close() })
	return &pipe{t.p, conn, "the peer"}
}

// pipe is one end of a relayed connection.
type pipe struct {
	p    *probe
	conn halfCloser
	who  string
}

// halfCloser is a connection that can end one direction.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// call connects to the relayed address, as a peer does.
func (p *probe) call(relayed netip.AddrPort) (*pipe, error) {
	ip := p.peerIP(stun.FamilyOf(relayed.Addr()))
	d := net.Dialer{Timeout: p.config.Wait, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))}
	conn, err := d.DialContext(p.ctx, "tcp", relayed.String())
	if err != nil {
		return nil, err
	}
	p.atEnd(func() { conn.Close() })
	return &pipe{p, conn.(*net.TCPConn), "the peer"}, nil
}

func (x *pipe) local() netip.AddrPort { return addrPort(x.conn.LocalAddr()) }

func (x *pipe) send(data []byte) {
	_ = x.conn.SetWriteDeadline(time.Now().Add(x.p.config.Wait))
	if _, err := x.conn.Write(data); err != nil {
		x.p.failf("%s expected to send %s, got %v", x.who, brief(data), err)
	}
}

// expect ends the check unless exactly this comes next.
func (x *pipe) expect(what string, want []byte) {
	got := make([]byte, len(want))
	_ = x.conn.SetReadDeadline(time.Now().Add(x.p.config.Wait))
	n, err := io.ReadFull(x.conn, got)
	if err != nil || !bytes.Equal(got, want) {
		x.p.failf("%s: %s expected %s, got %s (%v)", what, x.who, brief(want), brief(got[:n]), err)
	}
}

// ended says whether the connection ends within a time, by FIN or reset, with nothing before.
func (x *pipe) ended(within time.Duration) bool {
	var room [1]byte
	_ = x.conn.SetReadDeadline(time.Now().Add(within))
	n, err := x.conn.Read(room[:])
	return n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (x *pipe) expectEnd(what string) {
	if !x.ended(x.p.config.Wait) {
		x.p.failf("%s: %s expected the end of the connection, got none", what, x.who)
	}
}

// connect asks for a connection to a peer and returns its id.
func (c *client) connect(t *tcpPeer) uint32 {
	r := c.ask(stun.MethodConnect, withPeer(t.addr))
	if r.came && r.code == stun.CodeForbidden {
		c.p.skipf("the server forbids peers at %v: --peer, or allow them", t.addr.Addr())
	}
	c.p.want("Connect", r, success)
	id, err := r.Uint32(stun.AttrConnectionID)
	if err != nil {
		c.p.failf("Connect: expected CONNECTION-ID, got %s", r.attributes())
	}
	return id
}

// join binds a connection and returns the client's end of it.
func (c *client) join(id uint32) *pipe {
	data := c.p.dialTCP()
	data.cred = c.cred
	r := data.ask(stun.MethodConnectionBind, withConnection(id))
	c.p.want("ConnectionBind", r, success)
	return data.asPipe()
}

// asPipe is the client's connection after its ConnectionBind.
func (c *client) asPipe() *pipe {
	return &pipe{c.p, c.conn.(halfCloser), "the client"}
}

// attempt waits for a ConnectionAttempt and returns its id and peer.
func (c *client) attempt() (id uint32, peer netip.AddrPort) {
	f, err := c.await(c.p.config.Wait, func(f []byte) bool {
		m, err := stun.Parse(f)
		return err == nil && m.Type() == stun.MethodConnectionAttempt.Indication()
	})
	if err != nil {
		c.p.failf("the client expected a ConnectionAttempt, got none: %v", err)
	}
	r := replyOf(f)
	id, errID := r.Uint32(stun.AttrConnectionID)
	peer, errPeer := r.XORAddr(stun.AttrXORPeerAddress)
	if errID != nil || errPeer != nil {
		c.p.failf("ConnectionAttempt: expected XOR-PEER-ADDRESS and CONNECTION-ID, got %s", r.attributes())
	}
	return id, peer
}
