package transfer

import "encoding/binary"

// maxHave bounds the map of an answer: every second chunk of 2^20 there, a byte for each run, and some for long ones.
const maxHave = 2 << 20

// A bitmap has a bit for every chunk.
type bitmap []uint64

func (b bitmap) has(n uint32) bool { return int(n/64) < len(b) && b[n/64]>>(n%64)&1 == 1 }

func (b *bitmap) set(n uint32) {
	for int(n/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) clear(n uint32) {
	if int(n/64) < len(b) {
		b[n/64] &^= 1 << (n % 64)
	}
}

// appendHave writes which of the first count chunks are there: lengths of runs, missing and present by turns, missing
// first, the last run left out when it is missing.
func (b bitmap) appendHave(dst []byte, count uint32) []byte {
	present, run := false, uint64(0)
	for n := range count {
		if b.has(n) != present {
			dst = binary.AppendUvarint(dst, run)
			present, run = !present, 0
		}
		run++
	}
	if present {
		dst = binary.AppendUvarint(dst, run)
	}
	return dst
}

// parseHave reads what appendHave writes.
func parseHave(raw []byte, count uint32) (bitmap, error) {
	b := make(bitmap, (count+63)/64)
	at, present := uint64(0), false
	for first := true; len(raw) > 0; first = false {
		run, n := binary.Uvarint(raw)
		if n <= 0 || n != uvarintLen(run) || run == 0 && !first || run > uint64(count)-at {
			return nil, protocolError("bad map of chunks")
		}
		raw = raw[n:]
		if present {
			for i := range run {
				b.set(uint32(at + i))
			}
		}
		at, present = at+run, !present
	}
	if present { // the last run was of missing ones
		return nil, protocolError("bad map of chunks")
	}
	return b, nil
}

func uvarintLen(v uint64) int { return len(binary.AppendUvarint(nil, v)) }
