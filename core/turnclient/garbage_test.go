package turnclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/reason"
)

// What a server that is none sends, and what Allocate makes of it.
func TestNotATURNServer(t *testing.T) {
	head := func(n int) string { return "\x01\x03" + string([]byte{byte(n >> 8), byte(n)}) + "\x21\x12\xa4\x42" }
	tests := []struct {
		name, sends string
		closes      bool
		want        error
	}{
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", true, ErrGarbage},
		{"SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", true, ErrGarbage},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x46\x15\x03\x01\x00\x02\x02\x46\x15\x03\x01\x00\x02\x02\x46", true, ErrGarbage},
		{"zeros", strings.Repeat("\x00", 100), true, ErrGarbage},
		{"channel data", "\x40\x00\x00\x10" + strings.Repeat("x", 16), true, ErrGarbage},
		{"a message of 64 KiB", head(0xfffc) + strings.Repeat("\x00", 70000), true, ErrGarbage},
		{"an attribute beyond the end", head(4) + "0123456789ab" + "\x00\x09\x00\x08", true, ErrGarbage},
		{"nothing, and closes", "", true, io.ErrUnexpectedEOF},
		{"half a header, and closes", head(8)[:6], true, io.ErrUnexpectedEOF},
		{"a header, and closes", head(8) + "0123456789ab", true, io.ErrUnexpectedEOF},
		{"nothing at all", "", false, os.ErrDeadlineExceeded},
		{"half a header", head(8)[:6], false, os.ErrDeadlineExceeded},
		{"a response to something else", head(0) + "0123456789ab", false, os.ErrDeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				go func() {
					_, _ = readFrame(far)
					_, _ = io.WriteString(far, tt.sends)
					if tt.closes {
						_ = far.Close()
					}
				}()
				c := newClient(near, "relay:3478", Config{Timeout: DefaultTimeout})
				defer c.Close()
				start := time.Now()
				_, err := c.Allocate(t.Context(), IPv4)
				if !errors.Is(err, tt.want) || reason.Of(err) != reason.RelayUnreachable {
					t.Errorf("got %v, reason %q, want %v", err, reason.Of(err), tt.want)
				}
				if !tt.closes && time.Since(start) != DefaultTimeout {
					t.Errorf("took %v, want %v", time.Since(start), DefaultTimeout)
				}
			})
		})
	}
}

// A byte a second is no progress: the time is for the whole answer.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		var server sync.WaitGroup
		server.Go(func() {
			_, _ = readFrame(far)
			for _, b := range []byte("\x01\x13\x00\x48\x21\x12\xa4\x42 and so on and on and on") {
				time.Sleep(time.Second)
				if _, err := far.Write([]byte{b}); err != nil {
					return
				}
			}
		})
		defer server.Wait()
		c := newClient(near, "relay:3478", Config{Timeout: DefaultTimeout})
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Allocate(ctx, IPv4)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want a timeout after 5 s", err, time.Since(start))
		}
	})
}
