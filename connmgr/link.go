package connmgr

import (
	"context"
	"io"
	"net"
	"sync"

	"traverse.internal/core/ice"
	"traverse.internal/core/tls"
	"traverse.internal/identity"
)

// secured is what carries a session: a tls.Link or a tls.DatagramLink.
type secured interface {
	io.ReadWriteCloser
	Exporter(label string) ([]byte, error)
}

// secure runs the handshake on a path, by PROTOCOL.md 3's roles. Whoever fails has closed the path.
func (m *Manager) secure(ctx context.Context, p *Path, role ice.Role, peer identity.DeviceID) (*link, error) {
	var s secured
	var err error
	switch {
	case p.Datagrams != nil && role == ice.Offerer:
		s, err = tls.AsDatagramServer(ctx, p.Datagrams, p.Own, p.PeerPrint, m.cfg.Device, peer)
	case p.Datagrams != nil:
		s, err = tls.AsDatagramClient(ctx, p.Datagrams, p.Own, p.PeerPrint, m.cfg.Device, peer)
	case role == ice.Offerer:
		s, err = tls.AsServer(ctx, p.Conn, p.Head, m.cfg.Device, peer)
	default:
		s, err = tls.AsClient(ctx, p.Conn, p.Head, m.cfg.Device, peer)
	}
	if err != nil {
		p.Release()
		return nil, err
	}
	return newLink(s, p), nil
}

// link is one authenticated stream and the path it runs on.
type link struct {
	tls  secured
	path *Path
	once sync.Once
}

func newLink(t secured, p *Path) *link {
	if c, ok := p.Conn.(*net.TCPConn); ok {
		tune(c)
	}
	return &link{tls: t, path: p}
}

// close ends both; it never blocks on the peer.
func (l *link) close() {
	l.once.Do(func() {
		_ = l.tls.Close()
		l.path.Release()
	})
}
