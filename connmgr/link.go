package connmgr

import (
	"net"
	"sync"

	"traverse.internal/core/tls"
)

// link is one authenticated stream and the path it runs on.
type link struct {
	tls  *tls.Link
	path *Path
	once sync.Once
}

func newLink(t *tls.Link, p *Path) *link {
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
