package load

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/turnclient"
)

// tcpFlow is an allocation with one connection of RFC 6062.
type tcpFlow struct {
	client *turnclient.Client
	conn   net.Conn
	size   int
}

// openTCP makes a flow, and its peer.
func openTCP(ctx context.Context, c Config) (flow, func(), error) {
	client, err := turnclient.Dial(ctx, turnclient.Config{Server: c.Server, Username: c.User, Password: c.Password})
	if err != nil {
		return nil, nil, &Error{Step: "dial", Err: err}
	}
	local, err := localTo(c.Server)
	if err != nil {
		client.Close()
		return nil, nil, &Error{Step: "peer", Err: err}
	}
	peer, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		client.Close()
		return nil, nil, &Error{Step: "peer", Err: err}
	}
	ended := make(chan struct{})
	go echoStream(peer, ended)
	end := func() { peer.Close(); <-ended }
	f := &tcpFlow{client: client, size: c.Size}
	at := peer.Addr().(*net.TCPAddr).AddrPort()
	if err := f.setUp(ctx, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())); err != nil {
		client.Close()
		end()
		return nil, nil, err
	}
	return f, end, nil
}

// localTo is the address of this machine that faces the server.
func localTo(server netip.AddrPort) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// echoStream is a peer: it takes one connection, and sends back what comes on it.
func echoStream(peer *net.TCPListener, ended chan<- struct{}) {
	defer close(ended)
	conn, err := peer.Accept()
	if err != nil {
		return
	}
	_, _ = io.Copy(conn, conn)
	conn.Close()
}

func (f *tcpFlow) setUp(ctx context.Context, peer netip.AddrPort) error {
	family := turnclient.IPv4
	if peer.Addr().Is6() {
		family = turnclient.IPv6
	}
	wrap := func(step string, err error) error {
		e := &Error{Step: step, Err: err}
		var refused *turnclient.Error
		if errors.As(err, &refused) {
			e.Code = refused.Code
		}
		return e
	}
	allocation, err := f.client.Allocate(ctx, family)
	if err != nil {
		return wrap("Allocate", err)
	}
	if err := allocation.Permit(ctx, peer.Addr()); err != nil {
		return wrap("CreatePermission", err)
	}
	if f.conn, err = allocation.Connect(ctx, peer); err != nil {
		return wrap("Connect", err)
	}
	return nil
}

func (f *tcpFlow) send(message []byte) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(late)); err != nil {
		return err
	}
	_, err := f.conn.Write(message)
	return err
}

func (f *tcpFlow) receive(message []byte) (int, error) { return io.ReadFull(f.conn, message[:f.size]) }

func (f *tcpFlow) close() {
	f.conn.Close()
	f.client.Close()
}
