package transfer

import (
	"encoding/binary"
	"testing"

	"traverse.internal/core/treehash"
)

// ledger is a sink that knows how many bytes are written, and not noted for good as parts of verified chunks.
type ledger struct {
	m                      *manifest
	loose, added, most     int64
	flushes, chunks, wrote int
}

func (l *ledger) list() *manifest              { return l.m }
func (l *ledger) missing(uint32) bool          { return true }
func (l *ledger) toCome() int64                { return l.m.size }
func (l *ledger) whole(Digest) (Digest, error) { return Digest{}, nil }

func (l *ledger) write(_ int, _ uint32, _ int64, b []byte) error {
	l.loose += int64(len(b))
	l.most = max(l.most, l.loose)
	l.wrote++
	return nil
}

func (l *ledger) verified(i int, n uint32, _ Digest) error {
	_, length := l.m.span(i, n)
	l.added += length
	l.chunks++
	return nil
}

func (l *ledger) flush() {
	l.loose, l.added = l.loose-l.added, 0
	l.flushes++
}

// TestKilledAtAnyWrite: whenever a receiver is killed, no more than a chunk has been written that its journal does not know, wherever the
// blocks of the stream are cut; and small files do not cost it a write of the journal each.
func TestKilledAtAnyWrite(t *testing.T) {
	const small = 100
	entries := []Entry{{Path: "d", Kind: Folder}, {Path: "d/large", Kind: File, Size: 3*ChunkLen + 7}}
	for i := range small {
		entries = append(entries, Entry{Path: "d/s" + string(rune('A'+i/26)) + string(rune('a'+i%26)), Kind: File, Size: 1000})
	}
	m, err := newManifest(entries, ChunkLen)
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	for i := range m.entries {
		for n := m.first[i]; n < m.first[i+1]; n++ {
			_, length := m.span(i, n)
			data := content(int(length))
			h := treehash.New(nil)
			h.Write(data)
			sum := h.Sum()
			body = append(binary.BigEndian.AppendUint32(append(body, recordChunk), n), data...)
			body = append(body, sum[:]...)
		}
	}
	body = append(append(body, recordEnd), make([]byte, len(Digest{}))...)
	for _, size := range []int{blockSize, blockSize - 65431, 2*ChunkLen + 5, len(body)} {
		l := &ledger{m: m}
		c := &consumer{to: l, want: 1, hash: treehash.New(nil), meter: meter{&Progress{}, &counters{}}}
		blocks := 0
		for rest := body; len(rest) > 0; blocks++ {
			n := min(size, len(rest))
			if err := c.take(rest[:n]); err != nil {
				t.Fatal(err)
			}
			c.flush()
			rest = rest[n:]
		}
		if l.most > ChunkLen {
			t.Errorf("blocks of %d: %d bytes were written and not noted", size, l.most)
		}
		if l.chunks != int(m.chunks()) || c.phase != atEnd {
			t.Errorf("blocks of %d: %d chunks of %d", size, l.chunks, m.chunks())
		}
		if most := blocks + 5; l.flushes > most { // the large file has four chunks
			t.Errorf("blocks of %d: %d writes of the journal, want %d at most", size, l.flushes, most)
		}
	}
}
