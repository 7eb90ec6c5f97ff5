package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// channel is the number that every flow binds: the first of RFC 8656 §12.
const channel = 0x4000

// udpFlow is an allocation with one channel. Not after close.
type udpFlow struct {
	conn   *net.UDPConn
	client credentials
	out    []byte // channel header and message
	in     [2048]byte
}

// credentials are what requests are signed with, once the server has said its realm and nonce.
type credentials struct {
	user, password string
	realm, nonce   []byte
	key            []byte
}

// openUDP makes a flow, and its peer.
func openUDP(ctx context.Context, c Config) (flow, func(), error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.Server))
	if err != nil {
		return nil, nil, &Error{Step: "dial", Err: err}
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0)))
	if err != nil {
		conn.Close()
		return nil, nil, &Error{Step: "peer", Err: err}
	}
	f := &udpFlow{conn: conn, client: credentials{user: c.User, password: c.Password}}
	at := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := f.setUp(ctx, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())); err != nil {
		conn.Close()
		peer.Close()
		return nil, nil, err
	}
	ended := make(chan struct{})
	go echoDatagrams(peer, ended)
	return f, func() { peer.Close(); <-ended }, nil
}

// echoDatagrams is a peer: it sends back what comes, until it is closed.
func echoDatagrams(peer *net.UDPConn, ended chan<- struct{}) {
	defer close(ended)
	buf := make([]byte, 2048)
	for {
		n, from, err := peer.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = peer.WriteToUDPAddrPort(buf[:n], from) // lost, as the report says
		}
	}
}

func (f *udpFlow) setUp(ctx context.Context, peer netip.AddrPort) error {
	allocate := func(b *stun.Builder) {
		b.AddRequestedTransport(stun.TransportUDP)
		if family := stun.FamilyOf(peer.Addr()); family == stun.FamilyIPv6 {
			b.AddFamily(stun.AttrRequestedAddressFamily, family)
		}
	}
	if _, err := f.request(ctx, stun.MethodAllocate, allocate); err != nil {
		return err
	}
	if _, err := f.request(ctx, stun.MethodChannelBind, func(b *stun.Builder) {
		b.AddChannelNumber(channel)
		b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	}); err != nil {
		return err
	}
	return f.conn.SetDeadline(time.Time{})
}

// request asks until it is answered, 5 times in 2.5 s at most, and once more where the server wants to be shown credentials or
// has a new nonce.
func (f *udpFlow) request(ctx context.Context, method stun.Method, add func(*stun.Builder)) (stun.Message, error) {
	for challenges := 0; ; challenges++ {
		m, err := f.ask(ctx, method, add)
		if err != nil {
			return m, &Error{Step: method.String(), Err: err}
		}
		if m.Type().Class == stun.ClassSuccess {
			return m, nil
		}
		code, _, err := m.ErrorCode()
		if err != nil {
			return m, &Error{Step: method.String(), Err: err}
		}
		challenge := code == stun.CodeUnauthenticated && f.client.key == nil || code == stun.CodeStaleNonce
		if !challenge || challenges > 1 {
			return m, &Error{Step: method.String(), Code: code}
		}
		if err := f.client.take(m); err != nil {
			return m, &Error{Step: method.String(), Err: err}
		}
	}
}

func (c *credentials) take(m stun.Message) error {
	realm, ok := m.Attr(stun.AttrRealm)
	nonce, ok2 := m.Attr(stun.AttrNonce)
	if !ok || !ok2 {
		return errors.New("a challenge without realm or nonce")
	}
	c.realm, c.nonce = append([]byte(nil), realm...), append([]byte(nil), nonce...)
	c.key = stun.LongTermKey(c.user, string(c.realm), c.password)
	return nil
}

func (f *udpFlow) ask(ctx context.Context, method stun.Method, add func(*stun.Builder)) (stun.Message, error) {
	id := stun.NewTransactionID()
	b := stun.New(nil, method.Request(), id)
	add(&b)
	if c := f.client; c.key != nil {
		b.AddText(stun.AttrUsername, c.user)
		b.Add(stun.AttrRealm, c.realm)
		b.Add(stun.AttrNonce, c.nonce)
		b.AddIntegrity(c.key)
	}
	b.AddFingerprint()
	if err := b.Err(); err != nil {
		return stun.Message{}, err
	}
	failure := errors.New("no answer")
	for range 5 {
		if ctx.Err() != nil {
			return stun.Message{}, context.Cause(ctx)
		}
		if _, err := f.conn.Write(b.Bytes()); err != nil {
			failure = err
		}
		for stop := time.Now().Add(500 * time.Millisecond); ; {
			if err := f.conn.SetReadDeadline(stop); err != nil {
				return stun.Message{}, err
			}
			n, err := f.conn.Read(f.in[:])
			if err != nil {
				failure = fmt.Errorf("no answer: %w", err)
				break
			}
			if m, err := stun.Parse(f.in[:n]); err == nil && m.TransactionID() == id {
				return m, nil
			}
		}
	}
	return stun.Message{}, failure
}

func (f *udpFlow) send(message []byte) error {
	f.out = append(stun.AppendChannelDataHeader(f.out[:0], channel, len(message)), message...)
	_, err := f.conn.Write(f.out)
	return err
}

func (f *udpFlow) receive(message []byte) (int, error) {
	n, err := f.conn.Read(f.in[:])
	if err != nil {
		return 0, err
	}
	if n < 4 || f.in[0]>>6 != 1 {
		return 0, nil
	}
	return copy(message, f.in[4:n]), nil
}

// close ends the allocation without waiting for the answer, which receive would take: three times, for one may be lost.
func (f *udpFlow) close() {
	b := stun.New(nil, stun.MethodRefresh.Request(), stun.NewTransactionID())
	b.AddUint32(stun.AttrLifetime, 0)
	b.AddText(stun.AttrUsername, f.client.user)
	b.Add(stun.AttrRealm, f.client.realm)
	b.Add(stun.AttrNonce, f.client.nonce)
	b.AddIntegrity(f.client.key)
	b.AddFingerprint()
	if b.Err() == nil {
		for range 3 {
			_, _ = f.conn.Write(b.Bytes())
		}
	}
	f.conn.Close()
}
