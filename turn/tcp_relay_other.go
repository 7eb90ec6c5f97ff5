//go:build !linux

package turn

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// boundSocket holds a port for a TCP allocation. Here it listens from the beginning: peers without permission are accepted
// and closed.
type boundSocket struct {
	listener *net.TCPListener
}

func bindTCP(at netip.AddrPort) (*boundSocket, error) {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return &boundSocket{listener: l.(*net.TCPListener)}, nil
}

func (b *boundSocket) listen() (*net.TCPListener, error) { return b.listener, nil }

func (b *boundSocket) close() { _ = b.listener.Close() }

func dialControl(_, _ string, _ syscall.RawConn) error { return nil }
