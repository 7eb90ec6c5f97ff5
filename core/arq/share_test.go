package arq

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/internal/lossy"
)

// flow is somebody who sends as much as the line takes, and counts what has come.
type flow interface {
	arrived() int
	stop()
}

// ours is a flow of a Stream.
type ours struct {
	a, b *Stream
	n    atomic.Int64
	done chan struct{}
}

func startOurs(line lossy.Config) *ours {
	x, y := lossy.Pair(line)
	f := &ours{a: New(x, Config{}), b: New(y, Config{}), done: make(chan struct{})}
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := f.a.Write(b); err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(f.done)
		b := make([]byte, 64<<10)
		for {
			n, err := f.b.Read(b)
			f.n.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return f
}

func (f *ours) arrived() int { return int(f.n.Load()) }

func (f *ours) stop() {
	f.a.Close()
	f.b.Close()
	<-f.done
}

// reno is a flow after RFC 5681 with selective acknowledgements: it halves its window once in a round with a loss, and adds a packet for each without.
type reno struct {
	to, from *lossy.End
	n        atomic.Int64
	done     chan struct{}

	window, threshold float64 // packets
	next, recover     uint64
	under             map[uint64]time.Time
	largest           uint64
	rtt               time.Duration
}

const renoPacket = 1150

func startReno(line lossy.Config) *reno {
	f := &reno{done: make(chan struct{}), window: 10, threshold: 1e9, under: map[uint64]time.Time{}, rtt: 100 * time.Millisecond}
	f.to, f.from = lossy.Pair(line)
	go f.receive()
	go f.send()
	return f
}

func (f *reno) receive() {
	for {
		err := f.from.Receive(func(b []byte) {
			f.n.Add(int64(len(b)))
			_, _ = f.from.Send([][]byte{append([]byte(nil), b[:8]...)})
		})
		if err != nil {
			return
		}
	}
}

func (f *reno) send() {
	defer close(f.done)
	for {
		for len(f.under) < int(f.window) {
			b := make([]byte, renoPacket)
			f.next++
			binary.BigEndian.PutUint64(b, f.next)
			f.under[f.next] = time.Now()
			_, _ = f.to.Send([][]byte{b})
		}
		_ = f.to.SetReadDeadline(time.Now().Add(3 * f.rtt))
		err := f.to.Receive(func(b []byte) { f.acknowledged(binary.BigEndian.Uint64(b)) })
		if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
			f.threshold, f.window, f.recover = max(f.window/2, 2), 1, f.next
			clear(f.under)
			continue
		}
		if err != nil {
			return
		}
	}
}

func (f *reno) acknowledged(n uint64) {
	at, ok := f.under[n]
	if !ok {
		return
	}
	delete(f.under, n)
	f.rtt = (7*f.rtt + time.Since(at)) / 8
	f.largest = max(f.largest, n)
	if f.window < f.threshold {
		f.window++
	} else {
		f.window += 1 / f.window
	}
	for k := range f.under {
		if k+3 > f.largest {
			continue
		}
		delete(f.under, k) // lost
		if k > f.recover {
			f.threshold = max(f.window/2, 2)
			f.window, f.recover = f.threshold, f.next
		}
	}
}

func (f *reno) arrived() int { return int(f.n.Load()) }

func (f *reno) stop() {
	_ = f.to.Close()
	_ = f.from.Close()
	<-f.done
}

// bottleneck is 10 MB/s with 20 ms of round trip: a pipe of 200 kB.
func bottleneck(queue int, loss float64) lossy.Config {
	return lossy.Config{Delay: 10 * time.Millisecond, Rate: 10e6, Queue: queue, Loss: loss, Seed: 1, Line: &lossy.Line{}}
}

// among runs flows beside each other on a line, and returns the megabytes a second of each after the first seconds.
func among(flows ...flow) []float64 {
	const warm, measured = 5, 12
	time.Sleep(warm * time.Second)
	out := make([]float64, len(flows))
	for i, f := range flows {
		out[i] = -float64(f.arrived())
	}
	time.Sleep(measured * time.Second)
	for i, f := range flows {
		out[i] = (out[i] + float64(f.arrived())) / measured / 1e6
	}
	for _, f := range flows {
		f.stop()
	}
	return out
}

// TestSharesOfManyRuns prints what docs/adr/0082 says of flows beside each other: the middle, the least and the most of as many runs as SHARE_RUNS says, in each of
// which the flows begin at other moments of the first second. One run is no measure: who fills a queue first keeps it for a while.
func TestSharesOfManyRuns(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("SHARE_RUNS"))
	if err != nil || raced {
		t.Skip("SHARE_RUNS is no number of runs; it takes 2 s for each")
	}
	for _, c := range []struct {
		name      string
		queue     int
		tcp, more int // flows of TCP, and of ours beside the first
	}{
		{"two", 64 << 10, 0, 1},
		{"two", 256 << 10, 0, 1},
		{"two", 1 << 20, 0, 1},
		{"one and a TCP", 64 << 10, 1, 0},
		{"one and a TCP", 256 << 10, 1, 0},
		{"one and a TCP", 1 << 20, 1, 0},
		{"one and four TCPs", 256 << 10, 4, 0},
		{"two TCPs", 64 << 10, 2, -1},
		{"two TCPs", 1 << 20, 2, -1},
	} {
		t.Run(fmt.Sprintf("%s, queue %d KiB", c.name, c.queue>>10), func(t *testing.T) {
			var first, sum []float64
			for run := range runs {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(uint64(run), 7))
					line := bottleneck(c.queue, 0)
					line.Seed = uint64(run)
					flows := make([]flow, 1+c.tcp+c.more)
					for _, i := range random.Perm(len(flows)) {
						time.Sleep(time.Duration(random.Int64N(int64(time.Second) / int64(len(flows)))))
						if i <= c.more {
							flows[i] = startOurs(line)
						} else {
							flows[i] = startReno(line)
						}
					}
					got, all := among(flows...), 0.0
					for _, n := range got {
						all += n
					}
					first, sum = append(first, got[0]), append(sum, all)
				})
			}
			slices.Sort(first)
			slices.Sort(sum)
			t.Logf("the first %.1f (%.1f to %.1f) of %.1f MB/s", first[runs/2], first[0], first[runs-1], sum[runs/2])
		})
	}
}

// TestShares states what a stream leaves to others at one bottleneck, and what it makes of it alone: docs/adr/0082. Time is simulated, so that the machine has no say.
func TestShares(t *testing.T) {
	if raced {
		t.Skip("the race detector finds nothing here that the other tests have not, and makes simulated seconds slow")
	}
	for _, c := range []struct {
		name  string
		queue int
		loss  float64
		tcp   int     // flows of it beside ours
		two   bool    // two of ours
		least float64 // MB/s: of ours alone or the slower of ours; with TCP, of TCP together
	}{
		{"alone, queue 64 KiB", 64 << 10, 0, 0, false, 9},
		{"alone, queue 64 KiB, 9 % loss", 64 << 10, 0.09, 0, false, 4.5},
		{"alone, queue 256 KiB, 1 % loss", 256 << 10, 0.01, 0, false, 9},
		{"two of ours, queue 64 KiB", 64 << 10, 0, 0, true, 3.5},
		{"two of ours, queue 256 KiB", 256 << 10, 0, 0, true, 3},
		{"beside TCP, queue 64 KiB", 64 << 10, 0, 1, false, 0.5},
		{"beside TCP, queue 256 KiB", 256 << 10, 0, 1, false, 1.2},
		{"beside TCP, queue 1 MiB", 1 << 20, 0, 1, false, 2.5},
		{"beside four TCP, queue 256 KiB", 256 << 10, 0, 4, false, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line := bottleneck(c.queue, c.loss)
				mine := startOurs(line)
				flows := []flow{mine}
				if c.two {
					flows = append(flows, startOurs(line))
				}
				for range c.tcp {
					flows = append(flows, startReno(line))
				}
				got := among(flows...)
				st := mine.a.Stats()
				t.Logf("%-32s MB/s %.2f; ours lost %.1f %%", c.name, got, 100*float64(st.PacketsLost)/float64(st.PacketsSent))
				least := got[0]
				switch {
				case c.two:
					least = min(got[0], got[1])
				case c.tcp > 0:
					least = 0
					for _, n := range got[1:] {
						least += n
					}
				}
				if least < c.least {
					t.Errorf("%v MB/s, want at least %v of 10: ours alone, the slower of ours, or TCP together", least, c.least)
				}
			})
		})
	}
}
