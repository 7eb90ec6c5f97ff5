package ktls

import "io"

// recordHeader is type, version and length (RFC 8446 §5.1).
const recordHeader = 5

// A RecordReader reads a TLS connection's bytes for its handshake, and never asks for a byte beyond the record it is in, whatever
// the size of the buffer it is given: so that what follows is still in the socket when the kernel takes over. It counts records.
// Not safe for concurrent use.
type RecordReader struct {
	Source io.Reader

	header [recordHeader]byte
	have   int // bytes of header read, up to recordHeader
	left   int // bytes of the body still to come, when the header is complete
	whole  uint64
}

// Read reads a part of a record.
func (r *RecordReader) Read(p []byte) (int, error) {
	if r.have < recordHeader {
		n, err := r.Source.Read(p[:min(len(p), recordHeader-r.have)])
		copy(r.header[r.have:], p[:n])
		r.have += n
		if r.have == recordHeader {
			r.left = int(r.header[3])<<8 | int(r.header[4])
			r.nextIfDone()
		}
		return n, err
	}
	n, err := r.Source.Read(p[:min(len(p), r.left)])
	r.left -= n
	r.nextIfDone()
	return n, err
}

func (r *RecordReader) nextIfDone() {
	if r.left == 0 {
		r.have = 0
		r.whole++
	}
}

// Whole returns how many records have been read, and whether they are all that was: no part of another has.
func (r *RecordReader) Whole() (n uint64, exact bool) { return r.whole, r.have == 0 }

// CountRecords returns how many records b has, which begins and ends with whole ones.
func CountRecords(b []byte) (n uint64) {
	for ; len(b) >= recordHeader; n++ {
		b = b[min(len(b), recordHeader+int(b[3])<<8+int(b[4])):]
	}
	return n
}
