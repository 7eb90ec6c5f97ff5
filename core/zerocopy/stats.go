package zerocopy

import "sync/atomic"

// Stats are the process's counts.
type Stats struct {
	SplicedBytes uint64 // delivered without leaving the kernel
	CopiedBytes  uint64 // delivered through a buffer
	PipeMisses   uint64 // moves that copied because every pipe was taken
	Rescues      uint64 // pipes taken from pumps whose receivers did not read, their bytes moved to buffers
	Calls        uint64 // system calls that moved those, or found nothing to move
	Refused      uint64 // pumps that copy because the kernel refused to splice their sockets
	FileSent     uint64 // bytes of files that left without passing through the program
	FileCopied   uint64 // and through a buffer
	PipesOpen    int    // at most MaxPipes
	PipesIdle    int    // in the pool
}

// ReadStats returns the counts. Safe for concurrent use.
func ReadStats() Stats {
	s := Stats{
		SplicedBytes: totals.spliced.Load(),
		CopiedBytes:  totals.copied.Load(),
		PipeMisses:   totals.misses.Load(),
		Rescues:      totals.rescues.Load(),
		Calls:        totals.calls.Load(),
		Refused:      totals.refused.Load(),
		FileSent:     totals.fileSent.Load(),
		FileCopied:   totals.fileCopied.Load(),
	}
	s.PipesOpen, s.PipesIdle = countPipes()
	return s
}

var totals struct {
	spliced, copied, misses, rescues, calls, refused, fileSent, fileCopied atomic.Uint64
}

// spliced and copied count n delivered bytes.
func (f *Flow) spliced(n int) {
	for ; f != nil; f = f.Total {
		f.Spliced.Add(uint64(n))
	}
	totals.spliced.Add(uint64(n))
}

func (f *Flow) copied(n int) {
	f.Add(n)
	totals.copied.Add(uint64(n))
}
