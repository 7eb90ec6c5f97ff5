//go:build bufdebug

package bufpool

import (
	"runtime"
	"strings"
	"testing"
)

// released returns a buffer after its last release.
func released(n int) *Buf {
	b := Get(n)
	b.Release()
	return b
}

func TestDebugUseAfterRelease(t *testing.T) {
	for _, c := range []struct {
		name string
		use  func(b *Buf)
	}{
		{"Bytes", func(b *Buf) { b.Bytes() }},
		{"Len", func(b *Buf) { b.Len() }},
		{"Cap", func(b *Buf) { b.Cap() }},
		{"Prepend", func(b *Buf) { b.Prepend(1) }},
		{"Trim", func(b *Buf) { b.Trim(1) }},
		{"SetLen", func(b *Buf) { b.SetLen(1) }},
		{"Retain", func(b *Buf) { b.Retain() }},
		{"Release", func(b *Buf) { b.Release() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := released(10)
			again := Get(10) // the memory is lent to somebody else: the old pointer is still a released one
			defer again.Release()
			got := panics(func() { c.use(b) })
			if !strings.HasPrefix(got, "bufpool: used after release; released by") {
				t.Errorf("panicked with %q", got)
			}
			if !strings.Contains(got, "bufpool.released") {
				t.Errorf("%q does not name who released it", got)
			}
		})
	}
}

func TestDebugPoison(t *testing.T) {
	b := Get(10)
	view := b.Bytes()
	copy(view, "0123456789")
	b.Release()
	for i, v := range view {
		if v != poison {
			t.Fatalf("byte %d is %#x after release, want %#x", i, v, poison)
		}
	}
}

func TestDebugWriteAfterRelease(t *testing.T) {
	b := released(10)
	b.mem[Headroom+3] = 'x' // what a slice kept too long would do
	if got := panics(func() { lend(b) }); !strings.HasPrefix(got, "bufpool: byte 67 written after release; released by") {
		t.Errorf("panicked with %q", got)
	}
	b.mem[Headroom+3] = poison // it is in the pool
	live.Add(-1)
}

func TestDebugChangeWhileShared(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *Buf)
	}{
		{"Prepend", func(b *Buf) { b.Prepend(1) }},
		{"Trim", func(b *Buf) { b.Trim(1) }},
		{"SetLen", func(b *Buf) { b.SetLen(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := Get(10)
			b.Retain()
			if got, want := panics(func() { c.change(b) }), "bufpool: changed while 2 holders share it"; got != want {
				t.Errorf("panicked with %q, want %q", got, want)
			}
			b.Release()
			c.change(b) // sole holder again
			b.Release()
		})
	}
}

func TestDebugLive(t *testing.T) {
	start := Live()
	b := Get(10)
	b.Retain()
	big := Get(1 << 20)
	if got := Live() - start; got != 2 {
		t.Errorf("%d live, want 2", got)
	}
	b.Release()
	if got := Live() - start; got != 2 {
		t.Errorf("%d live while one holder is left, want 2", got)
	}
	b.Release()
	big.Release()
	if got := Live() - start; got != 0 {
		t.Errorf("%d live at the end, want 0", got)
	}
	runtime.KeepAlive(b)
}
