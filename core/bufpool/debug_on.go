//go:build bufdebug

package bufpool

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
)

// Debug tells whether the tag bufdebug is on.
const Debug = true

// poison fills released memory: odd, not ASCII, not a msgpack map, and as a length far too long.
const poison = 0xdb

var live atomic.Int64

// Live returns the number of buffers that are lent and not yet released. A test that has waited for everything it
// started wants the number it began with.
func Live() int { return int(live.Load()) }

// debugState remembers who released the buffer, for the message of the panic that follows.
type debugState struct {
	released [16]uintptr
}

// checkHeld panics when b has no holder.
func (d *debugState) checkHeld(b *Buf) {
	if b.refs.Load() <= 0 {
		panic("bufpool: used after release" + d.releasedBy())
	}
}

// checkSole panics when b has not exactly one holder.
func (d *debugState) checkSole(b *Buf) {
	d.checkHeld(b)
	if n := b.refs.Load(); n > 1 {
		panic(fmt.Sprintf("bufpool: changed while %d holders share it", n))
	}
}

// retire poisons b's memory after the last release.
func (d *debugState) retire(b *Buf) {
	live.Add(-1)
	clear(d.released[:])
	runtime.Callers(3, d.released[:]) // 3: Callers, retire, Release
	for i := range b.mem {
		b.mem[i] = poison
	}
}

// lend returns a new Buf over b's storage, so that b itself stays released for ever and a use of the old pointer is
// always seen. It panics when somebody wrote into the storage after the release.
func lend(b *Buf) *Buf {
	live.Add(1)
	if b.debug.released[0] != 0 {
		for i, v := range b.mem {
			if v != poison {
				panic(fmt.Sprintf("bufpool: byte %d written after release", i) + b.debug.releasedBy())
			}
		}
	}
	return &Buf{mem: b.mem, class: b.class}
}

// releasedBy prints the stack of the last release.
func (d *debugState) releasedBy() string {
	if d.released[0] == 0 {
		return ""
	}
	var s strings.Builder
	s.WriteString("; released by")
	frames := runtime.CallersFrames(d.released[:])
	for {
		frame, more := frames.Next()
		if frame.Function != "" {
			fmt.Fprintf(&s, "\n\t%s %s:%d", frame.Function, frame.File, frame.Line)
		}
		if !more {
			return s.String()
		}
	}
}
