package turn

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/zerocopy"
	"traverse.internal/internal/filestamp"
)

const (
	// certInterval is how often the certificate's files are looked at.
	certInterval = 2 * time.Second
	// copyBuffer of a direction of a data connection over TLS: one record.
	copyBuffer = 16 << 10
)

// ErrCertificate says that the listeners' certificate or its key cannot be used.
var ErrCertificate = errors.New("turn: certificate")

// protocols of ours, RFC 7443 §3.
var protocols = []string{"stun.turn", "stun.nat-discovery"}

// Certificates hands out the listeners' certificate, where it is not in files: one that is obtained and renewed while
// the server runs.
type Certificates interface {
	// GetCertificate answers a handshake; also that of an authority that looks whether the name is ours (RFC 8737).
	GetCertificate(*stdtls.ClientHelloInfo) (*stdtls.Certificate, error)
	// Current is the certificate for clients that name no server; nil: there is none yet.
	Current() *stdtls.Certificate
	// Protocols are those that GetCertificate answers beside ours, for ALPN.
	Protocols() []string
}

// certificate is the server's, as its files or its source have it.
type certificate struct {
	source            Certificates // nil: the files
	certFile, keyFile string
	current           atomic.Pointer[stdtls.Certificate]
	failures          atomic.Uint64 // files that changed and could not be used

	mu     sync.Mutex // guards the fields below
	looked time.Time
	seen   [2]filestamp.Stamp
}

// newCertificate does not load yet.
func newCertificate(c Config) *certificate {
	return &certificate{source: c.Certificates, certFile: c.CertFile, keyFile: c.KeyFile}
}

// now is the certificate for clients that name no server, nil while there is none.
func (c *certificate) now() *stdtls.Certificate {
	if c.source != nil {
		return c.source.Current()
	}
	return c.current.Load()
}

// load reads the files. When they are wrong the present certificate stays.
func (c *certificate) load() error {
	if c.source != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = [2]filestamp.Stamp{filestamp.Of(c.certFile), filestamp.Of(c.keyFile)}
	pair, err := stdtls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.failures.Add(1)
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fmt.Errorf("%w: %w", ErrCertificate, err)
		}
	}
	c.current.Store(&pair)
	return nil
}

// follow loads the files when they have changed, now and then.
func (c *certificate) follow(now time.Time) {
	if c.source != nil {
		return
	}
	c.mu.Lock()
	due := now.Sub(c.looked) >= certInterval
	if due {
		c.looked = now
	}
	changed := due && !(c.seen[0].Same(filestamp.Of(c.certFile)) && c.seen[1].Same(filestamp.Of(c.keyFile)))
	c.mu.Unlock()
	if changed {
		_ = c.load() // counted; one of the two files may be written just now
	}
}

// valid returns when the certificate begins and ends; zero: there is none.
func (c *certificate) valid() (from, to time.Time) {
	if now := c.now(); now != nil && now.Leaf != nil {
		from, to = now.Leaf.NotBefore, now.Leaf.NotAfter
	}
	return from, to
}

// tlsConfig is that of listeners. Clients that name no protocol are taken, most do not: RFC 7443.
func (c *certificate) tlsConfig() *stdtls.Config {
	if c.source != nil {
		return &stdtls.Config{
			MinVersion: stdtls.VersionTLS12, NextProtos: slices.Concat(protocols, c.source.Protocols()), GetCertificate: c.source.GetCertificate,
		}
	}
	return &stdtls.Config{
		MinVersion: stdtls.VersionTLS12,
		NextProtos: protocols,
		// A message is one record from the first on: see writeBacklog.
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(*stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// readWaiting waits for bytes and appends them to the buffer, which it holds meanwhile.
func (st *stream) readWaiting() error {
	if st.buf == nil {
		st.buf, st.have = bufpool.Get(streamBuffer), 0
	}
	read := st.conn.Read
	if st.secure != nil {
		read = st.readSecured
	}
	n, err := read(st.buf.Bytes()[st.have:])
	st.have += n
	if n > 0 {
		return nil
	}
	return err
}

// joinSecured relays between a client's TLS connection and a peer until both have ended, through buffers. A cut stays a
// cut on the other side.
func joinSecured(client *stdtls.Conn, records *recordConn, peer *net.TCPConn, idle time.Duration, rel *relay) error {
	j := &securedJoin{client: client, records: records, peer: peer, idle: idle, rel: rel}
	j.moved.Store(time.Now().UnixNano())
	result := make(chan error, 1)
	go j.relayBack(result)
	err := j.relay(peer, client, up)
	j.ended(err)
	return errors.Join(err, <-result)
}

type securedJoin struct {
	client  *stdtls.Conn
	records *recordConn // below client
	peer    *net.TCPConn
	idle    time.Duration
	rel     *relay
	moved   atomic.Int64 // ns, when bytes last moved in either direction
}

// errCut is the end of a client's TCP stream before that of its TLS: anybody on the way can make one (RFC 8446 §6.1), which
// crypto/tls takes for an end.
var errCut = errors.New("turn: a data connection over TLS ended without close_notify")

// ended ends both sides when one direction has failed: the peer gets what came before, and then a reset.
func (j *securedJoin) ended(err error) {
	if err != nil {
		_ = j.client.NetConn().Close()
		zerocopy.Reset(j.peer)
	}
}

// halfCloser is a connection that can end one direction.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// pause waits for a tick, and says whether to go on: the allocation is there and the server not closed.
func (j *securedJoin) pause() bool {
	select {
	case <-j.rel.shard.server.ctx.Done():
		return false
	case <-time.After(tick):
	}
	j.rel.shard.mu.Lock()
	defer j.rel.shard.mu.Unlock()
	return !j.rel.alloc.Gone()
}

func (j *securedJoin) relayBack(result chan<- error) {
	err := j.relay(j.client, j.peer, down)
	j.ended(err)
	result <- err
}

func (j *securedJoin) relay(dst, src halfCloser, direction int) error {
	buf := bufpool.Get(copyBuffer)
	defer buf.Release()
	for {
		if j.idle > 0 {
			_ = src.SetReadDeadline(time.Now().Add(j.idle))
		}
		n, err := src.Read(buf.Bytes())
		if n > 0 {
			j.moved.Store(time.Now().UnixNano())
			if err := j.write(dst, buf.Bytes()[:n], direction); err != nil {
				return err
			}
		}
		var timeout net.Error
		switch {
		case err == io.EOF && direction == up && j.records.fin:
			return errCut
		case err == io.EOF:
			return dst.CloseWrite()
		case errors.As(err, &timeout) && timeout.Timeout() && time.Since(time.Unix(0, j.moved.Load())) < j.idle:
		case err != nil:
			return err
		}
	}
}

// write writes as its pacer allows.
func (j *securedJoin) write(dst io.Writer, b []byte, direction int) error {
	p := pace{j.rel, direction}
	for len(b) > 0 {
		n := p.Take(len(b))
		if n == 0 { // buckets are filled every tick
			if !j.pause() {
				return net.ErrClosed
			}
			continue
		}
		if _, err := dst.Write(b[:n]); err != nil {
			return err
		}
		j.rel.flows[direction].Add(n)
		b = b[n:]
	}
	return nil
}
