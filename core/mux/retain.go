package mux

import (
	"sort"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
)

// extent is a run of whole frames in one buffer, in the order of the wire.
type extent struct {
	buf   *bufpool.Buf // one hold is the extent's
	data  []byte       // in buf
	frame *fileFrame   // instead of both
	start uint64       // count of the first byte
}

func (e *extent) len() int {
	if e.frame != nil {
		return e.frame.len()
	}
	return len(e.data)
}

func (e *extent) end() uint64 { return e.start + uint64(e.len()) }

func (e *extent) release() {
	e.buf.Release()
	if e.frame != nil {
		e.frame.file.release()
	}
}

// retained is what has been given to a link, or would have been, and the peer has not acknowledged: all frames outside
// channel 0xffff, as they are on the wire. Positions count their bytes, headers included, since the session's start.
type retained struct {
	extents queue[extent]
	acked   uint64 // the peer has all before
	sent    uint64 // where the next frame begins
	bytes   int    // held in extents; whole extents are let go, so up to one batch more than sent - acked
}

// add appends frames that lie in buf. It takes a hold of its own unless they follow directly behind the last ones.
func (r *retained) add(buf *bufpool.Buf, data []byte) {
	start := r.sent
	r.sent += uint64(len(data))
	r.bytes += len(data)
	if r.extents.len() > 0 {
		last := r.extents.back()
		n := len(last.data)
		if last.frame == nil && last.buf == buf && cap(last.data) > n && &last.data[:n+1][n] == &data[0] {
			last.data = last.data[:n+len(data)]
			return
		}
	}
	r.extents.push(extent{buf: buf.Retain(), data: data, start: start})
}

// addFile appends a frame of a file. It takes over the frame's hold.
func (r *retained) addFile(f *fileFrame) {
	r.extents.push(extent{frame: f, start: r.sent})
	r.sent += uint64(f.len())
	r.bytes += f.len()
}

// ack takes the peer's count; trim then lets go. It reports false for a count that was never sent; an old one does
// nothing.
func (r *retained) ack(count uint64) bool {
	if count > r.sent {
		return false
	}
	r.acked = max(r.acked, count)
	return true
}

// trim lets go of what is acknowledged and has been given to the present link. (What the peer received over the link
// before, behind the count in its RESUME, is acknowledged and has to be sent again all the same: the peer counts on.)
func (r *retained) trim(given uint64) {
	limit := min(r.acked, given)
	for r.extents.len() > 0 && r.extents.front().end() <= limit {
		e := r.extents.pop()
		r.bytes -= e.len()
		e.release()
	}
}

// from returns the frames from pos on that lie in one buffer, or one of a file; pos is before sent, not before acked,
// and at a frame's border.
func (r *retained) from(pos uint64) batch {
	e := r.at(pos)
	if e.frame != nil {
		return batch{frame: e.frame, file: e.frame.file.retain()}
	}
	return batch{buf: e.buf.Retain(), data: e.data[pos-e.start:]}
}

// at returns the extent in which pos lies.
func (r *retained) at(pos uint64) *extent {
	return r.extents.at(sort.Search(r.extents.len(), func(i int) bool { return r.extents.at(i).end() > pos }))
}

// resumable tells whether a peer that has received pos can be served: nothing behind it has been let go, and a frame
// begins there.
func (r *retained) resumable(codec framing.Codec, pos uint64) bool {
	if pos < r.acked || pos >= r.sent {
		return pos == r.sent
	}
	e := r.at(pos)
	at := e.start
	if e.frame != nil {
		return at == pos
	}
	for data := e.data; at < pos; {
		h, n, err := codec.ParseHeader(data)
		if err != nil {
			return false // not for frames of our own
		}
		n += int(h.Length)
		at += uint64(n)
		data = data[n:]
	}
	return at == pos
}

// release lets go of everything.
func (r *retained) release() {
	for r.extents.len() > 0 {
		e := r.extents.pop()
		e.release()
	}
	r.extents.reset()
	r.bytes = 0
}
