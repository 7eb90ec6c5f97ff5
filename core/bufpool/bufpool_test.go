package bufpool

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// panics runs f and returns what it panicked with, as text, or "".
func panics(f func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

func TestGetClasses(t *testing.T) {
	for _, c := range []struct{ n, wantCap int }{
		{0, 512},
		{512, 512},
		{513, 2240},
		{2048, 2240},
		{2241, 4800},
		{4096, 4800},
		{4801, 18368},
		{5 + 16384 + 256, 18368}, // the largest TLS record
		{18369, 73664},
		{65535, 73664},
		{4 + 65535, 73664}, // the largest frame, header in the body
		{73664, 73664},
		{73665, 73665}, // beyond the classes: as long as asked for
		{1 << 20, 1 << 20},
	} {
		b := Get(c.n)
		if got := b.Len(); got != c.n {
			t.Errorf("Get(%d).Len() = %d", c.n, got)
		}
		if got := len(b.Bytes()); got != c.n {
			t.Errorf("len(Get(%d).Bytes()) = %d", c.n, got)
		}
		if got := b.Cap(); got != c.wantCap {
			t.Errorf("Get(%d).Cap() = %d, want %d", c.n, got, c.wantCap)
		}
		if got := len(b.Prepend(Headroom)); got != Headroom {
			t.Errorf("Get(%d).Prepend(%d) has %d bytes", c.n, Headroom, got)
		}
		b.Release()
	}
}

// TestBody walks a body through what a frame goes through: read, cut to what came, header off, header on.
func TestBody(t *testing.T) {
	b := Get(100)
	defer b.Release()
	copy(b.Bytes(), "HEADbody")
	b.SetLen(8)
	b.Trim(4)
	if got, want := string(b.Bytes()), "body"; got != want {
		t.Fatalf("after Trim: %q, want %q", got, want)
	}
	copy(b.Prepend(6), "longer")
	if got, want := string(b.Bytes()), "longerbody"; got != want {
		t.Fatalf("after Prepend: %q, want %q", got, want)
	}
	b.SetLen(b.Cap())
	if got, want := b.Len(), 512+2; got != want { // 6 bytes were put in front, 4 had been trimmed
		t.Fatalf("full length %d, want %d", got, want)
	}
	if got, want := string(b.Bytes()[:10]), "longerbody"; got != want {
		t.Fatalf("after SetLen: %q, want %q", got, want)
	}
	if got, want := cap(b.Bytes()[:10:10]), 10; got != want {
		t.Fatalf("capacity %d, want %d", got, want)
	}
}

// TestBytesCannotBeOverrun: an append to the body allocates instead of running into what lies behind.
func TestBytesCannotBeOverrun(t *testing.T) {
	b := Get(4)
	defer b.Release()
	copy(b.Bytes(), "body")
	_ = append(b.Bytes(), "overrun"...)
	b.SetLen(4 + 7)
	if bytes.Contains(b.Bytes(), []byte("overrun")) {
		t.Error("append wrote behind the body")
	}
}

func TestMisusePanics(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(b *Buf)
		want string
	}{
		{"prepend beyond the headroom", func(b *Buf) { b.Prepend(Headroom + 1) }, "bufpool: prepend beyond the headroom"},
		{"prepend a negative length", func(b *Buf) { b.Prepend(-1) }, "bufpool: prepend beyond the headroom"},
		{"trim beyond the body", func(b *Buf) { b.Trim(11) }, "bufpool: trim beyond the body"},
		{"trim a negative length", func(b *Buf) { b.Trim(-1) }, "bufpool: trim beyond the body"},
		{"length beyond the storage", func(b *Buf) { b.SetLen(b.Cap() + 1) }, "bufpool: length beyond the storage"},
		{"negative length", func(b *Buf) { b.SetLen(-1) }, "bufpool: length beyond the storage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := Get(10)
			defer b.Release()
			if got := panics(func() { c.do(b) }); got != c.want {
				t.Errorf("panicked with %q, want %q", got, c.want)
			}
			if got := b.Len(); got != 10 {
				t.Errorf("length %d afterwards, want 10: a refused change changes nothing", got)
			}
		})
	}
	if got := panics(func() { Get(-1) }); got != "bufpool: negative length" {
		t.Errorf("Get(-1) panicked with %q", got)
	}
}

// TestRetain: the memory is given back by the last holder and not before.
func TestRetain(t *testing.T) {
	b := Get(5)
	copy(b.Bytes(), "shared"[:5])
	second := b.Retain()
	if second != b {
		t.Fatal("Retain returned another buffer")
	}
	b.Release()
	for range 8 { // nobody else gets its memory meanwhile
		other := Get(5)
		copy(other.Bytes(), "other")
		defer other.Release()
	}
	if got := string(second.Bytes()); got != "share" {
		t.Errorf("second holder reads %q, want %q", got, "share")
	}
	second.Release()
}

func TestReleaseNil(_ *testing.T) {
	var b *Buf
	b.Release()
}

// TestReleaseTwice uses an unpooled buffer: a pooled one may be lent to somebody else between the two.
func TestReleaseTwice(t *testing.T) {
	b := Get(1 << 20)
	b.Release()
	if got := panics(b.Release); got == "" {
		t.Error("the second Release did not panic")
	}
}

func TestStats(t *testing.T) {
	before := ReadStats()
	for range 3 {
		Get(2000).Release()
	}
	Get(1 << 20).Release()
	after := ReadStats()
	if got := after.Classes[1].Gets - before.Classes[1].Gets; got != 3 {
		t.Errorf("%d gets counted, want 3", got)
	}
	if got := after.Classes[1].Misses - before.Classes[1].Misses; got > 3 {
		t.Errorf("%d misses counted of 3 gets", got)
	}
	if got := after.Oversize - before.Oversize; got != 1 {
		t.Errorf("%d oversize counted, want 1", got)
	}
	for i, want := range []int{512, 2240, 4800, 18368, 73664} {
		if got := after.Classes[i].Size; got != want {
			t.Errorf("class %d has %d bytes, want %d", i, got, want)
		}
	}
}

// TestAllocations: a hit costs none, in any class.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops buffers at random under the race detector: allocations cannot be counted")
	}
	if Debug {
		t.Skip("bufdebug lends a new Buf each time")
	}
	for _, n := range []int{1, 1500, 4096, 16384, 65535} {
		if got := testing.AllocsPerRun(200, func() {
			b := Get(n)
			b.Prepend(4)[0] = 1
			b.Retain().Release()
			b.Release()
		}); got != 0 {
			t.Errorf("%d bytes: %v allocations, want 0", n, got)
		}
	}
}

// TestManyHolders hands one buffer to many goroutines; the race detector and, with the tag, the poison watch.
func TestManyHolders(t *testing.T) {
	start := Live()
	var done sync.WaitGroup
	for i := range 50 {
		b := Get(300)
		for j := range b.Bytes() {
			b.Bytes()[j] = byte(i)
		}
		for range 4 {
			held := b.Retain()
			done.Go(func() {
				defer held.Release()
				for _, v := range held.Bytes() {
					if v != byte(i) {
						t.Errorf("buffer %d has a byte of %d", i, v)
						return
					}
				}
			})
		}
		b.Release()
	}
	done.Wait()
	if got := Live(); got != start {
		t.Errorf("%d buffers live, want %d", got, start)
	}
}

func BenchmarkGetRelease(b *testing.B) {
	for _, n := range []int{1200, 65532} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					Get(n).Release()
				}
			})
		})
	}
}
