package treehash

import "github.com/cloudflare/circl/xof/k12"

// Size is the length of a digest in bytes.
const Size = 32

// A Hash makes the digest of what is written to it. Not safe for concurrent use.
type Hash struct {
	wide  *wide // nil: other hashes
	other k12.State
}

// New returns a Hash with a customization, which may be nil and is kept.
func New(custom []byte) *Hash {
	if hasWide {
		return &Hash{wide: newWide(custom)}
	}
	return &Hash{other: k12.NewDraft10(custom)}
}

// Reset makes the Hash as new, and keeps its memory.
func (h *Hash) Reset() {
	if h.wide != nil {
		h.wide.reset()
		return
	}
	h.other.Reset()
}

// Write adds p. It never fails.
func (h *Hash) Write(p []byte) (int, error) {
	if h.wide != nil {
		h.wide.write(p)
		return len(p), nil
	}
	return h.other.Write(p)
}

// Sum returns the first 32 bytes of the digest. Nothing may be written behind it, nor Sum be called again, until Reset.
func (h *Hash) Sum() (d [Size]byte) {
	if h.wide != nil {
		return h.wide.sum()
	}
	h.other.Read(d[:])
	return d
}
