package transfer

import (
	"encoding/binary"
	"encoding/hex"

	"traverse.internal/core/treehash"
)

// A Digest is the first 32 bytes of KangarooTwelve. That of a chunk is over its bytes; that of a transfer is over the list of entries and
// the digests of all chunks in order, with a customization of its own.
type Digest [32]byte

// rootLabel is the customization of a transfer's digest: no chunk can be mistaken for a list.
const rootLabel = "traverse transfer 2"

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// rootOf is the digest of a transfer whose chunks all have sums, but for those that the receiver does not want: theirs are zeros.
func rootOf(m *manifest, sums []Digest, unwanted bitmap) Digest {
	h := treehash.New([]byte(rootLabel))
	head := binary.BigEndian.AppendUint64(nil, uint64(m.chunkLen))
	head = binary.BigEndian.AppendUint64(head, uint64(len(m.raw)))
	h.Write(head)
	h.Write(m.raw)
	var none Digest
	for n := range m.chunks() {
		if unwanted.has(n) {
			h.Write(none[:])
		} else {
			h.Write(sums[n][:])
		}
	}
	return h.Sum()
}

// plain is the digest of b alone.
func plain(b []byte) Digest {
	h := treehash.New(nil)
	h.Write(b)
	return h.Sum()
}
