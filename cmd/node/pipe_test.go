package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"traverse.internal/internal/cli"
)

// quickStream's other side obeys an end before CloseWrite has returned here.
type quickStream struct {
	io.Reader
	io.Writer
	end chan struct{} // closed when the end is on its way
}

func (s *quickStream) CloseWrite() error {
	close(s.end)
	synctest.Wait() // until shuttle has seen it, and decided
	return nil
}

func (s *quickStream) Abort(error) {}

func (s *quickStream) Gone() error {
	<-s.end
	return nil
}

// TestShuttleEnds: a node that closes behind our end has not died, however busy the machine is; one that closes before it has.
func TestShuttleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, got bytes.Buffer
		s := &quickStream{strings.NewReader("answer"), &sent, make(chan struct{})}
		if err := shuttle(s, strings.NewReader("question"), &got); err != nil {
			t.Errorf("a good end: %v", err)
		}
		if sent.String() != "question" || got.String() != "answer" {
			t.Errorf("sent %q, got %q", sent.String(), got.String())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		stdin, typing := io.Pipe()
		s := &quickStream{strings.NewReader(""), io.Discard, make(chan struct{})}
		close(s.end)
		err := shuttle(s, stdin, io.Discard)
		var e *cli.Error
		if !errors.As(err, &e) || e.Code != "E_NO_DAEMON" {
			t.Errorf("a node that died: %v, want E_NO_DAEMON", err)
		}
		s.end = make(chan struct{}) // for the end that sendAll says now
		typing.Close()
	})
}
