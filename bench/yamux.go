package main

import (
	"context"
	"io"

	"github.com/hashicorp/yamux"
)

// yamuxKind is hashicorp's mux over the same link, with the window its users set
// for bulk.
type yamuxKind struct{}

func yamuxConfig() *yamux.Config {
	cfg := yamux.DefaultConfig()
	cfg.MaxStreamWindowSize = 4 << 20
	cfg.LogOutput = io.Discard
	return cfg
}

// yamuxStream calls yamux's half-close what ours is called.
type yamuxStream struct{ *yamux.Stream }

func (s yamuxStream) CloseWrite() error { return s.Close() }

func (yamuxKind) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	accept, err := listenLink(say)
	if err != nil {
		return report{}, err
	}
	link, err := accept(ctx)
	if err != nil {
		return report{}, err
	}
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
	<-s.CloseChan()
	return r, err
}

func (yamuxKind) send(ctx context.Context, addr string, args []string) (report, error) {
	link, err := dialLink(ctx, addr)
	if err != nil {
		return report{}, err
	}
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
