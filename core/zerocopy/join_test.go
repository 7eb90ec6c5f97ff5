package zerocopy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// line is two applications with a Join between them: near <-> a Join b <-> far.
type line struct {
	near, far *net.TCPConn
	a, b      *net.TCPConn
	done      chan error
}

func newLine(t *testing.T, o Options) *line {
	t.Helper()
	l := &line{done: make(chan error, 1)}
	l.near, l.a = pair(t)
	l.far, l.b = pair(t)
	go func() { l.done <- Join(l.a, l.b, o) }()
	for _, c := range []*net.TCPConn{l.near, l.far} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// wait returns what Join returned.
func (l *line) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-l.done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Join did not return")
		return nil
	}
}

// pair returns the two ends of a TCP connection.
func pair(t *testing.T) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func noise(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, n)
	rng.Read(b)
	return b
}

// send writes in pieces of many sizes and then half-closes.
func send(c *net.TCPConn, data []byte) error {
	sizes := []int{1, 1400, 16 << 10, 100, 64 << 10, 1 << 20}
	for i := 0; len(data) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(data))
		if _, err := c.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return c.CloseWrite()
}

func TestBothWaysByteForByte(t *testing.T) {
	for _, c := range []struct {
		name    string
		noPipes bool
	}{
		{"with pipes", false},
		{"all pipes taken", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.noPipes {
				takeAllPipes(t)
			}
			var up, down Flow
			l := newLine(t, Options{AToB: &up, BToA: &down, Idle: time.Minute})
			there, back := noise(1, 16<<20), noise(2, 16<<20)
			var group sync.WaitGroup
			group.Go(func() { sendAndCheck(t, l.near, there, back) })
			group.Go(func() { sendAndCheck(t, l.far, back, there) })
			group.Wait()
			if err := l.wait(t); err != nil {
				t.Errorf("Join: %v", err)
			}
			for name, flow := range map[string]*Flow{"up": &up, "down": &down} {
				spliced, copied := flow.Spliced.Load(), flow.Copied.Load()
				if spliced+copied != 16<<20 {
					t.Errorf("%s: counted %d spliced and %d copied, want %d together", name, spliced, copied, 16<<20)
				}
				if wantCopies := c.noPipes || MaxPipes == 0; wantCopies != (copied > 0) {
					t.Errorf("%s: %d bytes copied", name, copied)
				}
			}
		})
	}
}

func sendAndCheck(t *testing.T, c *net.TCPConn, mine, want []byte) {
	result := make(chan error, 1)
	go func() { result <- send(c, mine) }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("received %d bytes of %d, equal %v, error %v", len(got), len(want), bytes.Equal(got, want), err)
	}
	if err := <-result; err != nil {
		t.Errorf("send: %v", err)
	}
}

func TestFINGoesOnAsFIN(t *testing.T) {
	l := newLine(t, Options{})
	if _, err := l.near.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := l.near.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(l.far); string(got) != "question" || err != nil {
		t.Fatalf("far read %q, %v", got, err)
	}
	answer := noise(3, 3<<20)
	go func() { _ = send(l.far, answer) }()
	if got, err := io.ReadAll(l.near); !bytes.Equal(got, answer) || err != nil {
		t.Fatalf("near read %d bytes of %d, %v", len(got), len(answer), err)
	}
	if err := l.wait(t); err != nil {
		t.Errorf("Join: %v", err)
	}
}

// Who closes while the other still talks has its last bytes delivered all the same.
func TestTailOfACloseIsDelivered(t *testing.T) {
	l := newLine(t, Options{})
	chatter := make(chan struct{})
	go func() {
		defer close(chatter)
		babble := make([]byte, 64<<10)
		for {
			if _, err := l.far.Write(babble); err != nil {
				return
			}
		}
	}()
	tail := noise(4, 4<<20)
	if _, err := l.near.Write(tail); err != nil {
		t.Fatal(err)
	}
	if err := l.near.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	// The close comes with unread input, so it also resets.
	if err := l.near.Close(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(tail))
	n, err := io.ReadFull(l.far, got)
	// What the kernel of near had not sent when it reset is lost to everybody; what arrived must not be.
	if !bytes.Equal(got[:n], tail[:n]) {
		t.Errorf("far read other bytes")
	}
	if err == nil {
		t.Logf("all %d bytes delivered", n)
	}
	_ = l.wait(t)
	l.far.Close()
	<-chatter
}

func TestResetGoesOnAsReset(t *testing.T) {
	l := newLine(t, Options{})
	if _, err := l.near.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(l.far, got); err != nil {
		t.Fatal(err)
	}
	if err := l.near.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := l.near.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.far.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("far: got %v, want a reset", err)
	}
	if err := l.wait(t); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Join: got %v, want the reset", err)
	}
}

func TestIdleEnds(t *testing.T) {
	const idle = 60 * time.Millisecond
	begin := time.Now()
	l := newLine(t, Options{Idle: idle})
	if _, err := l.near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.far.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	moved := time.Now()
	err := l.wait(t)
	if err != ErrIdle || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Join: got %v, want ErrIdle", err)
	}
	if took := time.Since(begin); took < idle || moved.Sub(begin) > took {
		t.Errorf("ended after %v", took)
	}
}

func TestCloseFromOutsideEnds(t *testing.T) {
	l := newLine(t, Options{Idle: time.Hour})
	l.a.Close()
	l.b.Close()
	if err := l.wait(t); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Join: got %v, want net.ErrClosed", err)
	}
	if _, err := l.far.Read(make([]byte, 1)); err == nil {
		t.Error("far still reads")
	}
}

// A receiver that reads nothing makes the sender stop; nothing grows here.
func TestSlowReceiverStopsTheSender(t *testing.T) {
	l := newLine(t, Options{})
	if err := l.near.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	sent, err := l.near.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the sender was not stopped: %d bytes, %v", sent, err)
	}
	l.near.Close()
	l.far.Close()
	_ = l.wait(t)
}
