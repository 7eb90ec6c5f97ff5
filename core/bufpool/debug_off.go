//go:build !bufdebug

package bufpool

// Debug tells whether the tag bufdebug is on.
const Debug = false

// Live returns the number of buffers that are lent and not yet released under the tag bufdebug, and 0 without it.
func Live() int { return 0 }

type debugState struct{}

func (*Buf) checkHeld() {}
func (*Buf) checkSole() {}
func (*Buf) retire()    {}

func lend(b *Buf) *Buf { return b }
