package main

import (
	"context"
	"io"

	"github.com/xtaci/smux"
)

// smuxKind is xtaci's mux, version 2 of its protocol with the windows its users set for bulk, over TLS as yamux has it.
type smuxKind struct{}

func smuxConfig() *smux.Config {
	cfg := smux.DefaultConfig()
	cfg.Version = 2
	cfg.MaxFrameSize = 65535
	cfg.MaxReceiveBuffer = 16 << 20
	cfg.MaxStreamBuffer = 4 << 20
	return cfg
}

func (smuxKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	s, err := smux.Server(conn, smuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	stream, err := s.AcceptStream()
	if err != nil {
		return report{}, err
	}
	r, err := drain(readSide{stream})
	_, _ = s.AcceptStream() // fails when the sender has gone, which goes first so that nothing is cut off
	return r, err
}

func (smuxKind) send(ctx context.Context, addr string, args []string) (report, error) {
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	s, err := smux.Client(conn, smuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	stream, err := s.OpenStream()
	if err != nil {
		return report{}, err
	}
	return flood(readSide{stream}, args)
}

// readSide hides smux's WriteTo from io.Copy, which all variants go without.
type readSide struct{ halfCloser }

// smuxPingKind is smux. That a stream is there it says with the first byte back.
type smuxPingKind struct{}

func (smuxPingKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	s, err := smux.Server(conn, smuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	return answerPings(s.Accept)
}

func (smuxPingKind) send(ctx context.Context, addr string, args []string) (report, error) {
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	s, err := smux.Client(conn, smuxConfig())
	if err != nil {
		return report{}, err
	}
	defer s.Close()
	return measurePings(func() (io.ReadWriteCloser, error) { return s.Open() }, func(c io.ReadWriter) error {
		_, err := echo(c)
		return err
	}, args)
}
