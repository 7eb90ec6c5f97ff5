package main

import (
	"io"

	"github.com/xtaci/smux"
)

// smuxMux is xtaci's, version 2 of its protocol.
var smuxMux = otherMux{
	server: func(link io.ReadWriteCloser) (otherSession, error) {
		return smuxSession(smux.Server(link, smuxConfig()))
	},
	client: func(link io.ReadWriteCloser) (otherSession, error) {
		return smuxSession(smux.Client(link, smuxConfig()))
	},
}

func smuxConfig() *smux.Config {
	cfg := smux.DefaultConfig()
	cfg.Version = 2
	cfg.MaxFrameSize = 65535
	cfg.MaxReceiveBuffer = 16 << 20
	cfg.MaxStreamBuffer = 4 << 20
	return cfg
}

func smuxSession(s *smux.Session, err error) (otherSession, error) {
	if err != nil {
		return otherSession{}, err
	}
	stream := func(get func() (*smux.Stream, error)) func() (otherStream, error) {
		return func() (otherStream, error) {
			one, err := get()
			return readSide{one}, err
		}
	}
	return otherSession{
		open: stream(s.OpenStream), accept: stream(s.AcceptStream),
		gone: func() { _, _ = s.AcceptStream() }, close: s.Close,
	}, nil
}

// readSide hides smux's WriteTo from io.Copy, which all variants go without.
type readSide struct{ otherStream }
