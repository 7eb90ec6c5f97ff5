package udp

import (
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// descriptor is a file descriptor that is closed when nobody uses it any more, so that its number never means another file
// to who still does.
type descriptor struct {
	fd    int
	state atomic.Int32 // how many use it, and closingBit
}

// closingBit in descriptor.state lets nobody in any more.
const closingBit = math.MinInt32

// closing says whether it is closed, or will be when the last one is done.
func (d *descriptor) closing() bool { return d.state.Load() < 0 }

// use says whether the descriptor is open; then it stays so until done.
func (d *descriptor) use() bool {
	for {
		s := d.state.Load()
		if s < 0 {
			return false
		}
		if d.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

func (d *descriptor) done() {
	if d.state.Add(-1) == closingBit {
		unix.Close(d.fd)
	}
}

// close says whether it is the first one.
func (d *descriptor) close() bool {
	for {
		s := d.state.Load()
		if s < 0 {
			return false
		}
		if d.state.CompareAndSwap(s, s+1|closingBit) {
			d.done()
			return true
		}
	}
}
