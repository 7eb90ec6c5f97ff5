package zerocopy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// purse allows what was put into it.
type purse struct{ left, moved, asked atomic.Int64 }

func (p *purse) Allow(want int) int {
	p.asked.Add(1)
	return int(min(int64(want), max(0, p.left.Load())))
}

func (p *purse) Moved(n int) {
	p.left.Add(int64(-n))
	p.moved.Add(int64(n))
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
