package treehash

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cloudflare/circl/xof/k12"
)

// pattern is RFC 9861's ptn(n).
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func circl(message, custom []byte) (d [Size]byte) {
	k12.Draft10Sum(d[:], message, custom)
	return d
}

// each runs a test with what this machine hashes with, and with what others do.
func each(t *testing.T, run func(t *testing.T, fresh func(custom []byte) *Hash)) {
	t.Run("circl", func(t *testing.T) { run(t, func(c []byte) *Hash { return &Hash{other: k12.NewDraft10(c)} }) })
	t.Run("eight leaves", func(t *testing.T) {
		if !hasWide {
			t.Skip("the processor has no AVX-512")
		}
		run(t, New)
	})
}

// Vectors of RFC 9861 §5, KT128.
func TestVectors(t *testing.T) {
	each(t, func(t *testing.T, fresh func([]byte) *Hash) {
		for _, c := range []struct {
			message, custom []byte
			want            string
		}{
			{nil, nil, "1ac2d450fc3b4205d19da7bfca1b37513c0803577ac7167f06fe2ce1f0ef39e5"},
			{pattern(1), nil, "2bda92450e8b147f8a7cb629e784a058efca7cf7d8218e02d345dfaa65244a1f"},
			{pattern(17), nil, "6bf75fa2239198db4772e36478f8e19b0f371205f6a9a93a273f51df37122888"},
			{pattern(17 * 17), nil, "0c315ebcdedbf61426de7dcf8fb725d1e74675d7f5327a5067f367b108ecb67c"},
			{pattern(17 * 17 * 17), nil, "cb552e2ec77d9910701d578b457ddf772c12e322e4ee7fe417f92c758f0d59d0"},
			{pattern(17 * 17 * 17 * 17), nil, "8701045e22205345ff4dda05555cbb5c3af1a771c2b89baef37db43d9998b9fe"},
			{pattern(17 * 17 * 17 * 17 * 17), nil, "844d610933b1b9963cbdeb5ae3b6b05cc7cbd67ceedf883eb678a0a8e0371682"},
			{nil, pattern(1), "fab658db63e94a246188bf7af69a133045f46ee984c56e3c3328caaf1aa1a583"},
		} {
			h := fresh(c.custom)
			h.Write(c.message)
			if got := h.Sum(); hex.EncodeToString(got[:]) != c.want {
				t.Errorf("%d bytes, custom %d: %x, want %s", len(c.message), len(c.custom), got, c.want)
			}
		}
	})
}

// Around every border: of a block, a leaf, a group, and where the customization moves it.
func TestLengths(t *testing.T) {
	all := pattern(3*groupSize + 2*leafSize)
	each(t, func(t *testing.T, fresh func([]byte) *Hash) {
		for _, custom := range [][]byte{nil, []byte("traverse transfer 2"), pattern(leafSize + 1)} {
			h := fresh(custom)
			for _, near := range []int{0, rate, leafSize - len(custom), leafSize, 2 * leafSize, groupSize, groupSize + leafSize, 2*groupSize + leafSize, 2*groupSize + 8*leafSize, len(all) - 3} {
				for n := max(0, near-3); n <= near+3; n++ {
					h.Reset()
					h.Write(all[:n])
					if got, want := h.Sum(), circl(all[:n], custom); got != want {
						t.Fatalf("%d bytes, custom %d: %x, want %x", n, len(custom), got, want)
					}
				}
			}
		}
	})
}

// However it is cut, it is the same message.
func TestWrites(t *testing.T) {
	all := pattern(1 << 20)
	want := circl(all, nil)
	random := rand.New(rand.NewPCG(1, 2))
	each(t, func(t *testing.T, fresh func([]byte) *Hash) {
		h := fresh(nil)
		for _, most := range []int{7, 168, 8192, 65532, 65536, 262128, 1 << 20} {
			h.Reset()
			for left := all; len(left) > 0; {
				n := min(1+random.IntN(most), len(left))
				h.Write(left[:n])
				left = left[n:]
			}
			if got := h.Sum(); got != want {
				t.Errorf("writes of at most %d: %x, want %x", most, got, want)
			}
		}
	})
}

// Chunk after chunk takes no memory anew.
func TestAllocations(t *testing.T) {
	if !hasWide {
		t.Skip("the processor has no AVX-512")
	}
	b := pattern(300_000)
	h := New(nil)
	if n := testing.AllocsPerRun(10, func() {
		h.Reset()
		h.Write(b)
		h.Sum()
	}); n > 0 {
		t.Errorf("%v allocations a chunk, want none", n)
	}
}

func FuzzHash(f *testing.F) {
	f.Add(uint32(0), uint16(1), []byte(nil))
	f.Add(uint32(8192), uint16(168), []byte("c"))
	f.Add(uint32(200_000), uint16(65535), bytes.Repeat([]byte("custom"), 2000))
	all := pattern(1 << 18)
	f.Fuzz(func(t *testing.T, size uint32, cut uint16, custom []byte) {
		message := all[:size%uint32(len(all))]
		h := New(custom)
		for left := message; len(left) > 0; {
			n := min(1+int(cut), len(left))
			h.Write(left[:n])
			left = left[n:]
		}
		if got, want := h.Sum(), circl(message, custom); got != want {
			t.Errorf("%d bytes in writes of %d, custom %d: %x, want %x", len(message), 1+int(cut), len(custom), got, want)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for _, size := range []int{4096, 1 << 20} {
		message := pattern(size)
		for name, h := range map[string]*Hash{"circl": {other: k12.NewDraft10(nil)}, "best": New(nil)} {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					h.Reset()
					h.Write(message)
					h.Sum()
				}
			})
		}
	}
}
