package httpserve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// An answer that is under way when the context ends comes out whole, and Until waits for it.
func TestAnswersUnderWayAreFinished(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	asked, answer := make(chan struct{}), make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		_, _ = io.WriteString(w, "whole")
	})}
	ended := make(chan error, 1)
	go func() { ended <- Until(ctx, srv, time.Minute, func() error { return srv.Serve(l) }) }()
	got := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		got <- string(body)
	}()
	<-asked
	cancel()
	select {
	case err := <-ended:
		t.Errorf("ended before its answer: %v", err)
	default:
	}
	close(answer)
	if body := <-got; body != "whole" {
		t.Errorf("got %q", body)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended with %v, want nil", err)
	}
}

// Who does not let go is cut off after the grace.
func TestTheGraceEnds(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})}
	ended := make(chan error, 1)
	go func() { ended <- Until(ctx, srv, time.Millisecond, func() error { return srv.Serve(l) }) }()
	go func() {
		if res, err := http.Get("http://" + l.Addr().String()); err == nil {
			res.Body.Close()
		}
	}()
	<-asked
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v, want nil", err)
	}
}

// A context that has ended already leaves no listener behind, and a listener that breaks is told.
func TestEndsOfOtherKinds(t *testing.T) {
	l := listen(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	srv := new(http.Server)
	if err := Until(over, srv, time.Second, func() error { return srv.Serve(l) }); err != nil {
		t.Errorf("after the end: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener: %v, want it closed", err)
	}
	broken := listen(t)
	broken.Close()
	srv = new(http.Server)
	if err := Until(t.Context(), srv, time.Second, func() error { return srv.Serve(broken) }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a broken listener: %v", err)
	}
}
