package main

import (
	"context"
	stdtls "crypto/tls"
	"io"
	"net"

	"traverse.internal/identity"
)

// An otherMux is somebody's mux as its users have it. It runs over crypto/tls on a TCP connection, with the window they set for
// bulk.
type otherMux struct {
	server, client func(link io.ReadWriteCloser) (otherSession, error)
}

// An otherSession is one of its sessions.
type otherSession struct {
	open, accept func() (otherStream, error)
	gone         func() // waits until the other side has closed it
	close        func() error
}

type otherStream interface {
	halfCloser
	io.Closer
}

func (m otherMux) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	return m.receiveOn(conn)
}

func (m otherMux) receiveOn(link io.ReadWriteCloser) (report, error) {
	s, err := m.server(link)
	if err != nil {
		return report{}, err
	}
	defer s.close()
	stream, err := s.accept()
	if err != nil {
		return report{}, err
	}
	r, err := drain(stream)
	s.gone() // the sender goes first, so that nothing is cut off
	return r, err
}

func (m otherMux) send(ctx context.Context, addr string, args []string) (report, error) {
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	return m.sendOn(conn, args)
}

func (m otherMux) sendOn(link io.ReadWriteCloser, args []string) (report, error) {
	s, err := m.client(link)
	if err != nil {
		return report{}, err
	}
	defer s.close()
	stream, err := s.open()
	if err != nil {
		return report{}, err
	}
	return flood(stream, args)
}

// otherPing measures what otherMux's users wait for. That a stream is there it says with the first byte back.
type otherPing struct{ otherMux }

func (m otherPing) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	s, err := m.server(conn)
	if err != nil {
		return report{}, err
	}
	defer s.close()
	return answerPings(func() (io.ReadWriteCloser, error) { return s.accept() })
}

func (m otherPing) send(ctx context.Context, addr string, args []string) (report, error) {
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	s, err := m.client(conn)
	if err != nil {
		return report{}, err
	}
	defer s.close()
	return measurePings(func() (io.ReadWriteCloser, error) { return s.open() }, func(c io.ReadWriter) error {
		_, err := echo(c)
		return err
	}, args)
}

// plainTLS is what our link is configured for, without our link: TLS 1.3 with both
// certificates, no tickets, full records from the start. Who the peer is does not
// matter to a benchmark.
func plainTLS() (*stdtls.Config, error) {
	dev, err := identity.New()
	if err != nil {
		return nil, err
	}
	return &stdtls.Config{
		MinVersion:                  stdtls.VersionTLS13,
		Certificates:                []stdtls.Certificate{dev.Certificate()},
		ClientAuth:                  stdtls.RequireAnyClientCert,
		InsecureSkipVerify:          true,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}, nil
}

// acceptPlain listens, says where, and takes one connection.
func acceptPlain(ctx context.Context, say func(string)) (*stdtls.Conn, error) {
	cfg, err := plainTLS()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", listenAddr())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	say(l.Addr().String())
	raw, err := l.Accept()
	if err != nil {
		return nil, err
	}
	conn := stdtls.Server(raw, cfg)
	return conn, conn.HandshakeContext(ctx)
}

func dialPlain(ctx context.Context, addr string) (*stdtls.Conn, error) {
	cfg, err := plainTLS()
	if err != nil {
		return nil, err
	}
	raw, err := net.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	conn := stdtls.Client(raw, cfg)
	return conn, conn.HandshakeContext(ctx)
}
