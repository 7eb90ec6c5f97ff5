package zerocopy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// purse allows what was put into it.
type purse struct{ left, moved, asked atomic.Int64 }

func (p *purse) Take(want int) int {
	p.asked.Add(1)
	for {
		left := p.left.Load()
		n := min(int64(want), max(0, left))
		if p.left.CompareAndSwap(left, left-n) {
			p.moved.Add(n)
			return int(n)
		}
	}
}

func (p *purse) Return(n int) {
	p.left.Add(int64(n))
	p.moved.Add(int64(-n))
}

// A pacer's bytes pass and not one more, until it allows more; the other direction is not held up.
func TestPace(t *testing.T) {
	var there purse
	flow := &Flow{Total: new(Flow)}
	l := newLine(t, Options{PaceAToB: &there, AToB: flow})
	text := bytes.Repeat([]byte("0123456789"), 10_000)
	if _, err := l.near.Write(text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	read := 0
	for _, grant := range []int{1, 999, 9_000, 90_000} {
		there.left.Add(int64(grant))
		if _, err := io.ReadFull(l.far, got[read:read+grant]); err != nil {
			t.Fatal(err)
		}
		read += grant
		if n := there.moved.Load(); n != int64(read) {
			t.Errorf("%d bytes moved, %d allowed", n, read)
		}
		if _, err := l.far.Write([]byte("back")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(l.near, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, text) {
		t.Error("other bytes came than were sent")
	}
	there.left.Store(1)
	l.near.Close()
	l.far.Close()
	_ = l.wait(t) // bytes are counted when they have been written, which is after the other end has them
	if n := flow.Spliced.Load() + flow.Copied.Load(); n != uint64(len(text)) || n != flow.Total.Spliced.Load()+flow.Total.Copied.Load() {
		t.Errorf("counted %d and %d in total, want %d", n, flow.Total.Spliced.Load()+flow.Total.Copied.Load(), len(text))
	}
}

// Connections that share a pacer take what it has, once: together not a byte more.
func TestPaceIsShared(t *testing.T) {
	var purse purse
	purse.left.Store(100_000)
	var lines []*line
	var came atomic.Int64
	for range 3 {
		l := newLine(t, Options{PaceAToB: &purse})
		lines = append(lines, l)
		go func() { _, _ = l.near.Write(make([]byte, 300_000)) }()
		go func() {
			buf := make([]byte, 4<<10)
			for {
				n, err := l.far.Read(buf)
				came.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
	for end := time.Now().Add(10 * time.Second); came.Load() < 100_000; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d bytes came", came.Load())
		}
	}
	for asked := purse.asked.Load(); purse.asked.Load() < asked+6; runtime.Gosched() { // each asks again
	}
	if n := came.Load(); n != 100_000 || purse.moved.Load() != n {
		t.Errorf("%d bytes came, %d were taken, of 100000", n, purse.moved.Load())
	}
	for _, l := range lines {
		l.a.Close()
		l.b.Close()
		_ = l.wait(t)
	}
}

// A Join that waits for its pacer ends when its connections are closed.
func TestPaceEnds(t *testing.T) {
	var none purse
	l := newLine(t, Options{PaceAToB: &none, PaceBToA: &none})
	for none.asked.Load() < 2 {
		if _, err := l.near.Write(nil); err != nil {
			t.Fatal(err)
		}
	}
	l.a.Close()
	l.b.Close()
	if err := l.wait(t); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Join: %v, want net.ErrClosed", err)
	}
}
