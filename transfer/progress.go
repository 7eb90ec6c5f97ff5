package transfer

import (
	"sync/atomic"
	"time"
)

// Phase is where a transfer is. Its String is the word the commands print.
type Phase uint32

// The phases, in order. A failed transfer stays in the phase it failed in; its
// error says how.
const (
	Offered Phase = iota
	Sending
	Receiving
	Verifying
	Done
)

func (p Phase) String() string {
	return [...]string{"offered", "sending", "receiving", "verifying", "done"}[p]
}

// Progress can be read by anyone while a transfer runs. The zero value is ready;
// nil is allowed wherever one is passed. One Progress belongs to one transfer.
type Progress struct {
	phase atomic.Uint32
	bytes atomic.Int64
	began atomic.Pointer[time.Time] // of the body; nil before
	start atomic.Int64              // bytes that were there when it began
	again atomic.Int64              // bytes that have come twice

	unwantedBytes atomic.Int64
	unwantedFiles atomic.Int64
}

// Phase returns where the transfer is.
func (p *Progress) Phase() Phase { return Phase(p.phase.Load()) }

// Bytes returns how much of the files has been handed to, or taken from, the stream, with what the receiver had before.
func (p *Progress) Bytes() int64 { return p.bytes.Load() }

// Began returns when the body began to move, and the zero time before. It carries the monotonic clock, so that the time since is right
// also when the other clock has been set.
func (p *Progress) Began() time.Time {
	if at := p.began.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Start returns how many of Bytes were there when the body began.
func (p *Progress) Start() int64 { return p.start.Load() }

// Again returns how many bytes had reached the receiver and had to be sent again, since the transfer was first offered.
func (p *Progress) Again() int64 { return p.again.Load() }

// Unwanted returns what of the offer the receiver has not taken: bytes, and the files that they are of. Known when the body begins.
func (p *Progress) Unwanted() (bytes int64, files int) {
	return p.unwantedBytes.Load(), int(p.unwantedFiles.Load())
}

// Counters sum up the transfers of a program, per direction. The zero value is
// ready; nil is allowed in options.
type Counters struct {
	send, receive counters
}

type counters struct {
	active   atomic.Int64
	bytes    atomic.Uint64
	resumed  atomic.Uint64                 // conversations that found something there
	kept     atomic.Uint64                 // bytes that they found
	verified atomic.Uint64                 // chunks
	outcomes [len(kinds) + 1]atomic.Uint64 // by index in kinds; the last is done
}

// Stats is a copy of Counters.
type Stats struct {
	Send, Receive DirectionStats
}

// DirectionStats counts the transfers of one direction.
type DirectionStats struct {
	Active   int64             // begun, not ended; a pending offer counts
	Bytes    uint64            // of bodies, also of transfers that failed later
	Resumed  uint64            // conversations that found something of an earlier one there
	Kept     uint64            // bytes that they found, and that were not sent again
	Verified uint64            // chunks that came and were right; of the receiver
	Outcomes map[string]uint64 // by the words of Outcome; all of them, also at 0
}

// Stats copies the counters.
func (c *Counters) Stats() Stats {
	return Stats{Send: c.send.stats(), Receive: c.receive.stats()}
}

func (c *counters) stats() DirectionStats {
	s := DirectionStats{
		Active:   c.active.Load(),
		Bytes:    c.bytes.Load(),
		Resumed:  c.resumed.Load(),
		Kept:     c.kept.Load(),
		Verified: c.verified.Load(),
		Outcomes: make(map[string]uint64, len(c.outcomes)),
	}
	for i := range kinds {
		s.Outcomes[kinds[i].word] = c.outcomes[i].Load()
	}
	s.Outcomes["done"] = c.outcomes[len(kinds)].Load()
	return s
}

// A meter writes to one Progress and one direction's counters.
type meter struct {
	progress *Progress
	total    *counters
}

func newMeter(p *Progress, c *counters) meter {
	if p == nil {
		p = new(Progress)
	}
	if c == nil {
		c = new(counters)
	}
	c.active.Add(1)
	return meter{p, c}
}

func (m meter) phase(p Phase) {
	if p == Sending || p == Receiving {
		now := time.Now()
		m.progress.began.Store(&now)
	}
	m.progress.phase.Store(uint32(p))
}

// had notes how much is there before the body begins.
func (m meter) had(n, again int64) {
	m.progress.bytes.Store(n)
	m.progress.start.Store(n)
	m.progress.again.Store(again)
	if n > 0 {
		m.total.resumed.Add(1)
		m.total.kept.Add(uint64(n))
	}
}

// unwanted notes what the receiver does not take.
func (m meter) unwanted(list *manifest, without bitmap) {
	bytes, files := int64(0), int64(0)
	for i := range list.entries {
		if list.of(i) > 0 && without.has(list.first[i]) {
			bytes, files = bytes+list.entries[i].Size, files+1
		}
	}
	m.unwantedOf(bytes, files)
}

func (m meter) unwantedOf(bytes, files int64) {
	m.progress.unwantedBytes.Store(bytes)
	m.progress.unwantedFiles.Store(files)
}

func (m meter) moved(n int64) {
	m.progress.bytes.Add(n)
	m.total.bytes.Add(uint64(n))
}

func (m meter) ended(err error) {
	i := len(kinds)
	if err != nil {
		i = indexOf(err)
	} else {
		m.phase(Done)
	}
	m.total.outcomes[i].Add(1)
	m.total.active.Add(-1)
}
