package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/stun"
)

// The limits of a Config.
const (
	MaxFlows    = 1000
	MaxRate     = 1_000_000       // messages a second, all flows together
	MaxDuration = 4 * time.Minute // permissions last five, RFC 8656 §9, and nothing here refreshes them
	MinSize     = header
	MaxSize     = 1400 // bytes: with all headers below what Ethernet takes
	MaxSizeTCP  = 64 << 10
)

const (
	header = 8           // of a message: when it left, in nanoseconds since the beginning
	window = 256         // messages under way where no rate is asked
	late   = time.Second // what takes longer is lost
)

// Config says what to do.
type Config struct {
	Server         netip.AddrPort
	User, Password string

	TCP      bool          // RFC 6062 connections instead of channels
	Flows    int           // 1 to MaxFlows; 0: 1
	Size     int           // bytes of a message; 0: 100
	Rate     int           // messages a second, all flows together; 0: as many as go, window under way
	Duration time.Duration // up to MaxDuration; 0: 10 s
}

// Check sets defaults, and names what is wrong.
func (c *Config) Check() error {
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	def(&c.Flows, 1)
	def(&c.Size, 100)
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	most := MaxSize
	if c.TCP {
		most = MaxSizeTCP
	}
	switch {
	case !c.Server.IsValid():
		return errors.New("load: no server")
	case c.Flows < 1 || c.Flows > MaxFlows:
		return fmt.Errorf("load: %d flows, want 1 to %d", c.Flows, MaxFlows)
	case c.Size < MinSize || c.Size > most:
		return fmt.Errorf("load: messages of %d bytes, want %d to %d", c.Size, MinSize, most)
	case c.Rate < 0 || c.Rate > MaxRate:
		return fmt.Errorf("load: %d messages a second, want up to %d", c.Rate, MaxRate)
	case c.Duration < 0 || c.Duration > MaxDuration:
		return fmt.Errorf("load: %v, want up to %v", c.Duration, MaxDuration)
	}
	return nil
}

// Report is what came through.
type Report struct {
	Flows          int     `json:"flows"`
	Size           int     `json:"size"`
	Seconds        float64 `json:"seconds"`
	Sent           uint64  `json:"sent"`
	Received       uint64  `json:"received"`
	Lost           uint64  `json:"lost"`
	Loss           float64 `json:"loss"`                // 0 to 1
	PerSecond      float64 `json:"messages_per_second"` // there and back
	BitsPerSecond  float64 `json:"bits_per_second"`     // of payload, one way
	Setup          float64 `json:"setup_seconds"`       // of all flows
	LatencyMS      Latency `json:"latency_ms"`          // there and back
	NotKept        bool    `json:"rate_not_kept"`       // this process could not send at the rate that was asked
	FailedFlows    int     `json:"failed_flows"`        // ended before their time
	FirstFlowError string  `json:"first_flow_error,omitempty"`
}

// Error is a refusal of the server, or that it does not answer.
type Error struct {
	Step string
	Code stun.ErrorCode // 0: no answer
	Err  error
}

func (e *Error) Error() string {
	if e.Code != 0 {
		return fmt.Sprintf("load: %s refused: %d %s", e.Step, e.Code, e.Code.Phrase())
	}
	return fmt.Sprintf("load: %s: %v", e.Step, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// A flow is one client with its peer. Send and receive may be used at once, each by one goroutine.
type flow interface {
	send(message []byte) error
	// receive fills message and returns how many bytes came; an error ends the flow.
	receive(message []byte) (int, error)
	// close gives the allocation back and ends receive.
	close()
}

// run is the state of one Run.
type run struct {
	Config
	began    time.Time
	sent     atomic.Uint64
	received atomic.Uint64
	failed   atomic.Int64
	failure  atomic.Pointer[error] // the first
	over     atomic.Bool           // flows may end
}

// Run loads a server until the duration is over or the context ends, which is no error.
func Run(ctx context.Context, c Config) (Report, error) {
	if err := c.Check(); err != nil {
		return Report{}, err
	}
	r := &run{Config: c}
	start := time.Now()
	flows, peers, err := r.open(ctx)
	defer func() {
		for _, p := range peers {
			p()
		}
	}()
	if err != nil {
		closeAll(flows)
		return Report{}, err
	}
	setup := time.Since(start)
	r.began = time.Now()
	times := make([]histogram, len(flows))
	var reading sync.WaitGroup
	for i, f := range flows {
		reading.Go(func() { r.readLoop(f, &times[i]) })
	}
	r.sendAll(ctx, flows)
	took := time.Since(r.began)
	for stop := time.Now().Add(late); r.received.Load() < r.sent.Load() && time.Now().Before(stop); {
		time.Sleep(5 * time.Millisecond)
	}
	r.over.Store(true)
	closeAll(flows)
	reading.Wait()
	return r.report(times, took, setup), nil
}

// open makes the flows. Those that it has made are returned with the error, too.
func (r *run) open(ctx context.Context) (flows []flow, peers []func(), err error) {
	open := openUDP
	if r.TCP {
		open = openTCP
	}
	for range r.Flows {
		f, end, err := open(ctx, r.Config)
		if err != nil {
			return flows, peers, err
		}
		flows, peers = append(flows, f), append(peers, end)
	}
	return flows, peers, nil
}

// closeAll gives the allocations back, 32 at a time: each waits for the server's answer.
func closeAll(flows []flow) {
	var work sync.WaitGroup
	room := make(chan struct{}, 32)
	for _, f := range flows {
		room <- struct{}{}
		work.Go(func() { f.close(); <-room })
	}
	work.Wait()
}

// sendAll sends on the flows in turn.
func (r *run) sendAll(ctx context.Context, flows []flow) {
	message := make([]byte, r.Size)
	live := append([]flow(nil), flows...)
	lost, moved, last := uint64(0), time.Now(), uint64(0) // given up in a closed loop
	for next := 0; len(live) > 0 && ctx.Err() == nil; {
		now := time.Since(r.began)
		if now >= r.Duration {
			return
		}
		sent := r.sent.Load()
		if r.Rate > 0 {
			if due := uint64(now.Seconds() * float64(r.Rate)); sent >= due {
				time.Sleep(time.Duration(float64(sent-due+1) / float64(r.Rate) * float64(time.Second)))
				continue
			}
		} else if got := r.received.Load(); sent >= got+lost+window {
			if got != last {
				last, moved = got, time.Now()
			}
			if time.Since(moved) > late/4 {
				lost = sent - got // nothing comes any more
				continue
			}
			time.Sleep(20 * time.Microsecond)
			continue
		}
		binary.BigEndian.PutUint64(message, uint64(time.Since(r.began)))
		next %= len(live)
		if err := live[next].send(message); err != nil {
			r.fail(err)
			live = append(live[:next], live[next+1:]...)
			continue
		}
		r.sent.Add(1)
		next++
	}
}

// readLoop takes what comes back on a flow.
func (r *run) readLoop(f flow, times *histogram) {
	message := make([]byte, r.Size+64)
	for {
		n, err := f.receive(message)
		if err != nil {
			if !r.over.Load() {
				r.fail(err)
			}
			return
		}
		if n != r.Size {
			continue // nobody's of ours
		}
		sent := time.Duration(binary.BigEndian.Uint64(message))
		if took := time.Since(r.began) - sent; sent >= 0 && took >= 0 {
			times.add(took)
			r.received.Add(1)
		}
	}
}

func (r *run) fail(err error) {
	r.failed.Add(1)
	r.failure.CompareAndSwap(nil, &err)
}

func (r *run) report(times []histogram, took, setup time.Duration) Report {
	var all histogram
	for i := range times {
		all.merge(&times[i])
	}
	out := Report{
		Flows: r.Flows, Size: r.Size, Seconds: took.Seconds(), Sent: r.sent.Load(), Received: r.received.Load(), Setup: setup.Seconds(),
		LatencyMS: all.latency(), FailedFlows: int(r.failed.Load()),
	}
	if out.Received < out.Sent {
		out.Lost = out.Sent - out.Received
	}
	if out.Sent > 0 {
		out.Loss = float64(out.Lost) / float64(out.Sent)
	}
	if took > 0 {
		out.PerSecond = float64(out.Received) / took.Seconds()
		out.BitsPerSecond = out.PerSecond * float64(r.Size) * 8
		out.NotKept = r.Rate > 0 && float64(out.Sent) < 0.95*float64(r.Rate)*took.Seconds()
	}
	if err := r.failure.Load(); err != nil {
		out.FirstFlowError = (*err).Error()
	}
	return out
}
