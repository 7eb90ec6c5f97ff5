package zerocopy

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is as much as one splice moves. Half the kernel's pipe-max-size is as good as all of it for one connection that
	// is never out of bytes (256 KiB cost it a quarter more), and lets twice as many pumps have one.
	pipeSize = 512 << 10
	// MaxPipes of the process: 96 × 512 KiB are 48 MiB and stay below the 64 MiB (16,384 pages) that an unprivileged user's
	// pipes may have; the rest of the program has 16. Only pumps that move at this moment, or whose receiver is slow, have
	// one.
	MaxPipes = 96
	// maxRescued bounds what is taken out of pipes whose receivers do not read: 64 MiB, as much as 128 full pipes.
	maxRescued = 128
)

// pipe is an empty pipe, unless its pump died: then it is closed, not pooled.
type pipe struct{ r, w int }

// pipePool lends pipes and opens them when needed. The zero value is ready.
type pipePool struct {
	mu      sync.Mutex // guards the fields below
	idle    []pipe
	open    int
	stalled []*pump // whose receivers take nothing: they hold pipes with bytes in them, the oldest first
	rescued int     // pumps whose bytes were moved out of their pipes, to buffers
}

var pipes pipePool

// get returns false when every pipe is taken, or the process has no descriptors left. When every pipe is taken, one whose
// receiver does not read gives its own up: its bytes go on from buffers.
func (p *pipePool) get() (pipe, bool) {
	for {
		p.mu.Lock()
		if n := len(p.idle); n > 0 {
			lent := p.idle[n-1]
			p.idle = p.idle[:n-1]
			p.mu.Unlock()
			return lent, true
		}
		if p.open < MaxPipes {
			p.open++
			p.mu.Unlock()
			return p.make()
		}
		if len(p.stalled) == 0 || p.rescued >= maxRescued {
			p.mu.Unlock()
			return pipe{}, false
		}
		victim := p.stalled[0]
		p.stalled = slices.Delete(p.stalled, 0, 1)
		p.rescued++
		p.mu.Unlock()
		if freed, ok := victim.rescue(); ok {
			totals.rescues.Add(1)
			return freed, true
		}
		p.rescueOver() // it moves again
	}
}

// make opens the pipe that was counted already.
func (p *pipePool) make() (pipe, bool) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
		return pipe{}, false
	}
	// Refused when the user has too many already; the pipe then works in smaller steps.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	return pipe{fds[0], fds[1]}, true
}

// put takes an empty pipe back.
func (p *pipePool) put(back pipe) {
	p.mu.Lock()
	p.idle = append(p.idle, back) // at most MaxPipes
	p.mu.Unlock()
}

// discard closes a pipe that still has bytes in it.
func (p *pipePool) discard(dead pipe) {
	_ = unix.Close(dead.r)
	_ = unix.Close(dead.w)
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

// stall lists a pump that holds a pipe for a receiver that takes nothing.
func (p *pipePool) stall(one *pump) {
	p.mu.Lock()
	p.stalled = append(p.stalled, one) // at most MaxPipes: each holds one
	p.mu.Unlock()
}

// resume takes a pump off that list, if it is still there.
func (p *pipePool) resume(one *pump) {
	p.mu.Lock()
	if i := slices.Index(p.stalled, one); i >= 0 {
		p.stalled = slices.Delete(p.stalled, i, i+1)
	}
	p.mu.Unlock()
}

// rescueOver notes that a pump has nothing in buffers any more.
func (p *pipePool) rescueOver() {
	p.mu.Lock()
	p.rescued--
	p.mu.Unlock()
}

func countPipes() (open, idle int) {
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	return pipes.open, len(pipes.idle)
}
