package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"traverse.internal/core/mux"
	"traverse.internal/transfer"
)

// A channel is a Stream as it is.
var _ transfer.Stream = (*mux.Channel)(nil)

// sessions returns both ends of a session over loopback TCP.
func sessions(t *testing.T) (*mux.Session, *mux.Session) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	caller, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	called, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, err := mux.Start(caller, mux.Config{})
	if err != nil {
		t.Fatal(err)
	}
	opening, err := mux.Receive(called)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mux.Answer(called, opening, mux.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// channel opens a channel for a transfer.
func channel(t *testing.T, a, b *mux.Session) (*mux.Channel, *mux.Channel) {
	t.Helper()
	accepted := make(chan *mux.Channel, 1)
	go func() {
		r, err := b.Accept(t.Context())
		if err != nil {
			t.Error(err)
			close(accepted)
			return
		}
		c, err := r.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	x, err := a.Open(t.Context(), transfer.ChannelName(transfer.NewID()))
	if err != nil {
		t.Fatal(err)
	}
	y, ok := <-accepted
	if !ok {
		t.FailNow()
	}
	return x, y
}

// slowChannel reads half a MiB and no more until the test lets it: then both sides
// are in the middle of the body, the window full.
type slowChannel struct {
	*mux.Channel
	left    int
	reached chan struct{}
	open    chan struct{}
}

func slow(c *mux.Channel) *slowChannel {
	return &slowChannel{c, 512 << 10, make(chan struct{}), make(chan struct{})}
}

func (c *slowChannel) Read(p []byte) (int, error) {
	if c.left <= 0 {
		select {
		case <-c.reached:
		default:
			close(c.reached)
		}
		<-c.open
		return c.Channel.Read(p)
	}
	n, err := c.Channel.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestOverMux: over channels of a real session both sides end as over any other
// stream, and the session is as good as new after each.
func TestOverMux(t *testing.T) {
	a, b := sessions(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB: no window holds it
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := transfer.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()

	for _, test := range []struct {
		name     string
		pending  func(in *transfer.Incoming, cancelSender func()) // instead of accepting
		midway   func(in *transfer.Incoming, cancelSender func()) // in the body
		end      error
		receiver transfer.Side // who ended it, as the receiver sees it
	}{
		{name: "done"},
		{
			name:    "declined",
			pending: func(in *transfer.Incoming, _ func()) { in.Decline("not now") },
			end:     transfer.ErrDeclined,
		},
		{
			name:    "cancelled by the receiver, pending",
			pending: func(in *transfer.Incoming, _ func()) { in.Cancel() },
			end:     transfer.ErrCancelled,
		},
		{
			name:     "cancelled by the sender, pending",
			pending:  func(_ *transfer.Incoming, cancelSender func()) { cancelSender() },
			end:      transfer.ErrCancelled,
			receiver: transfer.Remote,
		},
		{
			name:   "cancelled by the receiver, in the body",
			midway: func(in *transfer.Incoming, _ func()) { in.Cancel() },
			end:    transfer.ErrCancelled,
		},
		{
			name:     "cancelled by the sender, in the body",
			midway:   func(_ *transfer.Incoming, cancelSender func()) { cancelSender() },
			end:      transfer.ErrCancelled,
			receiver: transfer.Remote,
		},
		{name: "done again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src, err := transfer.NewSource(path)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			x, y := channel(t, a, b)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sent := make(chan error, 1)
			go func() {
				_, err := transfer.Send(ctx, x, src, transfer.SendOptions{})
				sent <- err
			}()
			stream := slow(y)
			in, err := transfer.ReadOffer(t.Context(), stream, transfer.ReceiveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if test.pending != nil {
				test.pending(in, cancel)
			} else {
				go in.Accept(t.Context(), dir, transfer.AcceptOptions{}) // its error is in.Err
				<-stream.reached
			}
			var sender error
			if test.midway != nil {
				test.midway(in, cancel)
				sender = <-sent // the sender learns it although nobody reads
				close(stream.open)
			} else {
				close(stream.open)
				sender = <-sent
			}
			<-in.Done()
			if !errors.Is(sender, test.end) {
				t.Errorf("sender: %v, want %v", sender, test.end)
			}
			var e *transfer.Error
			if err := in.Err(); !errors.Is(err, test.end) || errors.As(err, &e) && e.By != test.receiver {
				t.Errorf("receiver: %v, want %v by %v", err, test.end, test.receiver)
			}
		})
	}
	entries, err := os.ReadDir(dir.Path())
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v: want two files", entries, err)
	}
	for _, s := range []*mux.Session{a, b} {
		if s.Err() != nil {
			t.Errorf("session: %v", s.Err())
		}
	}
}
