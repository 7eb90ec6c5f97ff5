package zerocopy

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is as much as one splice moves. It is the kernel's default pipe-max-size.
	pipeSize = 1 << 20
	// MaxPipes of the process: 48 × 1 MiB stay below the 64 MiB (16,384 pages) that an unprivileged user's pipes may
	// have, and leave 16 for the rest of the program. Only pumps that move at this moment, or whose receiver is slow, have
	// one.
	MaxPipes = 48
)

// pipe is an empty pipe, unless its pump died: then it is closed, not pooled.
type pipe struct{ r, w int }

// pipePool lends pipes and opens them when needed. The zero value is ready.
type pipePool struct {
	mu   sync.Mutex // guards the fields below
	idle []pipe
	open int
}

var pipes pipePool

// get returns false when every pipe is taken, or the process has no descriptors left.
func (p *pipePool) get() (pipe, bool) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		lent := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return lent, true
	}
	if p.open >= MaxPipes {
		p.mu.Unlock()
		return pipe{}, false
	}
	p.open++
	p.mu.Unlock()

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

func countPipes() (open, idle int) {
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	return pipes.open, len(pipes.idle)
}
