package mux

import (
	"sync"
	"time"
)

// deadline is one direction's: a channel that is closed while the deadline has passed. No goroutine here.
type deadline struct {
	mu         sync.Mutex // guards the fields below
	passed     chan struct{}
	timer      *time.Timer
	generation int // of the last set, so that an older timer is known as such
}

func newDeadline() deadline { return deadline{passed: make(chan struct{})} }

// set moves the deadline; the zero time means none. Whoever waits sees the new one.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if isClosed(d.passed) {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		close(d.passed)
		return
	}
	generation := d.generation
	d.timer = time.AfterFunc(left, func() { d.expire(generation) })
}

func (d *deadline) expire(generation int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.generation == generation {
		close(d.passed)
	}
}

// wait returns a channel that is closed when the deadline passes.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
