package main

import (
	"io"

	"github.com/hashicorp/yamux"
)

// yamuxMux is hashicorp's.
var yamuxMux = otherMux{
	server: func(link io.ReadWriteCloser) (otherSession, error) {
		return yamuxSession(yamux.Server(link, yamuxConfig()))
	},
	client: func(link io.ReadWriteCloser) (otherSession, error) {
		return yamuxSession(yamux.Client(link, yamuxConfig()))
	},
}

func yamuxConfig() *yamux.Config {
	cfg := yamux.DefaultConfig()
	cfg.MaxStreamWindowSize = 4 << 20
	cfg.LogOutput = io.Discard
	return cfg
}

func yamuxSession(s *yamux.Session, err error) (otherSession, error) {
	if err != nil {
		return otherSession{}, err
	}
	stream := func(get func() (*yamux.Stream, error)) func() (otherStream, error) {
		return func() (otherStream, error) {
			one, err := get()
			return yamuxStream{one}, err
		}
	}
	return otherSession{
		open: stream(s.OpenStream), accept: stream(s.AcceptStream),
		gone: func() { <-s.CloseChan() }, close: s.Close,
	}, nil
}

// yamuxStream calls yamux's half-close what ours is called.
type yamuxStream struct{ *yamux.Stream }

func (s yamuxStream) CloseWrite() error { return s.Close() }
