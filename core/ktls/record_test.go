package ktls

import (
	"bytes"
	"io"
	"testing"
)

// FuzzRecordReader checks the only parser here: whatever the bytes and the sizes of reads, the same bytes come out, and
// no read goes past the record it began in.
func FuzzRecordReader(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 3, 'a', 'b', 'c', 23, 3, 3, 0, 1, 'd'}, uint8(200), uint8(200))
	f.Add([]byte{22, 3, 1, 0, 0, 22, 3, 1, 0, 0}, uint8(7), uint8(3)) // empty records
	f.Add([]byte{22, 3, 1, 0xff, 0xff, 1}, uint8(9), uint8(1))
	f.Add([]byte{22, 3}, uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, wire []byte, want, give uint8) {
		ends := recordEnds(wire)
		source := &stingyReader{data: wire, give: int(give)%64 + 1}
		reader := &RecordReader{Source: source}
		buf := make([]byte, int(want)%256+1)
		var out []byte
		for {
			begin := len(out)
			n, err := reader.Read(buf)
			out = append(out, buf[:n]...)
			for _, end := range ends {
				if begin < end && end < source.taken {
					t.Fatalf("read from %d took up to %d, past the record's end %d", begin, source.taken, end)
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("Read = %d, %v", n, err)
			}
		}
		if !bytes.Equal(out, wire) {
			t.Fatalf("read %x, want %x", out, wire)
		}
		var whole []byte
		if n := len(ends); n > 0 && ends[n-1] > len(wire) {
			ends = ends[:n-1]
		}
		if n := len(ends); n > 0 {
			whole = wire[:ends[n-1]]
		}
		got, exact := reader.Whole()
		if got != uint64(len(ends)) || CountRecords(whole) != got || exact != (len(whole) == len(wire)) {
			t.Fatalf("%d whole records, %d counted, exact %v; want %d of %d bytes in %d", got, CountRecords(whole), exact, len(ends), len(whole), len(wire))
		}
	})
}

// recordEnds returns where the records of wire end, those that end in it.
func recordEnds(wire []byte) (ends []int) {
	for at := 0; at+recordHeader <= len(wire); {
		at += recordHeader + int(wire[at+3])<<8 + int(wire[at+4])
		ends = append(ends, at)
	}
	return ends
}

// A stingyReader gives at most give bytes at a time.
type stingyReader struct {
	data        []byte
	give, taken int
}

func (r *stingyReader) Read(p []byte) (int, error) {
	if r.taken == len(r.data) {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.give)], r.data[r.taken:])
	r.taken += n
	return n, nil
}
