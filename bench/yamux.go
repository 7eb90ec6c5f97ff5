package main

import (
	"context"
	stdtls "crypto/tls"
	"io"
	"net"

	"github.com/hashicorp/yamux"

	"traverse.internal/identity"
)

// yamuxKind is hashicorp's mux over TLS as its users have it, with the window they
// set for bulk: crypto/tls on a TCP connection.
type yamuxKind struct{}

func yamuxConfig() *yamux.Config {
	cfg := yamux.DefaultConfig()
	cfg.MaxStreamWindowSize = 4 << 20
	cfg.LogOutput = io.Discard
	return cfg
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

func (yamuxKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	return yamuxReceive(conn)
}

func (yamuxKind) send(ctx context.Context, addr string, args []string) (report, error) {
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	return yamuxSend(conn, args)
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

// yamuxStream calls yamux's half-close what ours is called.
type yamuxStream struct{ *yamux.Stream }

func (s yamuxStream) CloseWrite() error { return s.Close() }

func yamuxReceive(link io.ReadWriteCloser) (report, error) {
	s, err := yamux.Server(link, yamuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	stream, err := s.AcceptStream()
	if err != nil {
		return report{}, err
	}
	r, err := drain(yamuxStream{stream})
	<-s.CloseChan() // the sender goes first, so that nothing is cut off
	return r, err
}

func yamuxSend(link io.ReadWriteCloser, args []string) (report, error) {
	s, err := yamux.Client(link, yamuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	stream, err := s.OpenStream()
	if err != nil {
		return report{}, err
	}
	return flood(yamuxStream{stream}, args)
}
