package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/internal/cli"
)

// A device that its account revokes loses what it has going with a contact, in the middle: a file, a forwarded port and a pipe; and gets nothing new. The
// account's other device goes on.
func TestRevokedInTheMiddle(t *testing.T) {
	desk := startNode(t, "desk", nil, nil)
	phone := startNode(t, "phone", desk, nil)
	bob := startNode(t, "bob", desk, nil)
	join(t, desk, phone, true)
	join(t, desk, bob, false)
	until(t, "the phone knows bob", func() bool { return phone.contacts.Knows(bob.self) })
	until(t, "bob knows the phone", func() bool { return bob.contacts.Knows(phone.self) })

	// A forward: bob exposes an echo, the phone forwards a port to it.
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	if _, err := bob.Expose(ExposeRequest{Name: "echo", Addr: echo.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	f, err := phone.AddForward(ForwardRequest{Kind: "local", Peer: "bob", Listen: "127.0.0.1:0", To: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	forwarded, err := net.Dial("tcp", f.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer forwarded.Close()
	alive := func(what string, rw io.ReadWriter) {
		t.Helper()
		b := []byte("alive")
		if _, err := rw.Write(b); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := io.ReadFull(rw, b); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	alive("the forwarded connection", forwarded)

	// A pipe, through the API of both.
	ctx, cancel := context.WithTimeout(t.Context(), labPatience)
	defer cancel()
	listened := make(chan *Stream, 1)
	go func() {
		s, err := bob.client.Listen(ctx, ListenRequest{Name: "talk"})
		if err != nil {
			t.Errorf("listen: %v", err)
		}
		listened <- s
	}()
	var pipe *Stream
	until(t, "bob listens", func() bool {
		pipe, err = phone.client.Pipe(ctx, PipeRequest{Peer: "bob", Name: "talk"})
		return err == nil
	})
	defer pipe.Close()
	other := <-listened
	if other == nil {
		t.FailNow()
	}
	defer other.Close()
	go func() { _, _ = io.Copy(other, other) }()
	alive("the pipe", pipe)

	// A file each way, slow enough to be in the middle.
	source := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(source, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	sent, err := bob.SendWith(SendOptions{Rate: 1 << 20}, "desk:phone", source)
	if err != nil {
		t.Fatal(err)
	}
	back, err := phone.SendWith(SendOptions{Rate: 1 << 20}, "bob", source)
	if err != nil {
		t.Fatal(err)
	}
	for n, id := range map[*labNode]string{bob: sent.ID, phone: back.ID} {
		if _, err := n.Await(ctx, id, func(s Transfer) bool { return s.State == StateSending && s.Bytes > 0 }); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := desk.RevokeDevice("phone"); err != nil {
		t.Fatal(err)
	}
	_ = forwarded.SetReadDeadline(time.Now().Add(labPatience))
	if _, err := forwarded.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the forwarded connection goes on: %v", err)
	}
	if _, err := pipe.Read(make([]byte, 1)); err == nil {
		t.Error("the pipe goes on")
	}
	for _, end := range []struct {
		name string
		n    *labNode
		id   string
	}{{"what bob sends", bob, sent.ID}, {"what bob receives", bob, back.ID}} {
		s, err := end.n.Await(ctx, end.id, func(s Transfer) bool { return s.State.Ended() })
		if err != nil || s.State != StateFailed || s.Error == nil || s.Error.Code != "E_AUTH" {
			t.Errorf("%s is %s, %v, %v; want it failed with E_AUTH", end.name, s.State, s.Error, err)
		}
	}
	until(t, "bob's sessions with the phone are over", func() bool {
		for _, s := range bob.manager.Sessions() {
			if s.Peer == phone.self && s.State != connmgr.StateDraining {
				return false
			}
		}
		return true
	})
	for name, ping := range map[string]func(context.Context) error{
		"the phone reaches bob": func(ctx context.Context) error { _, _, _, err := phone.Ping(ctx, "bob"); return err },
		"bob calls the phone":   func(ctx context.Context) error { _, _, _, err := bob.Ping(ctx, phone.self.String()); return err },
	} {
		short, stop := context.WithTimeout(ctx, time.Second)
		if err := ping(short); err == nil {
			t.Error(name)
		} else if told := (*cli.Error)(nil); !errors.As(err, &told) {
			t.Errorf("%s: %v is no error for people", name, err)
		}
		stop()
	}
	if _, _, _, err := bob.Ping(ctx, "desk"); err != nil {
		t.Errorf("the account's other device: %v", err)
	}
}
