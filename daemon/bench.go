package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/internal/cli"
)

// benchChannel is a sink: what comes on it is counted and thrown away, and the count is the answer. It is for contacts whose policy says so, since it costs what it measures.
const benchChannel = "bench"

// What one measurement may cost the side that is asked: so many bytes, so long, and one of them at a time.
const (
	MaxBench  = 1 << 30
	benchTime = time.Minute

	benchChannels = 51  // opened for the median
	benchPings    = 201 // on the idle session: p99 is the second slowest
	maxLoadPings  = 20000
	benchLooks    = 10 * time.Second // for each of those two where the way is long
)

// BenchRequest says whom to measure with, and with how many bytes.
type BenchRequest struct {
	Peer string `json:"peer"`
	Size int64  `json:"size"`
}

// BenchObject is a measurement of the way to a contact.
type BenchObject struct {
	cli.Envelope
	Peer    PeerRef       `json:"peer"`
	Path    *Path         `json:"path,omitempty"`
	Stream  BenchRate     `json:"stream"`            // bytes on one channel
	File    *BenchRate    `json:"file,omitempty"`    // a file, verified and stored; `bench local` alone
	Channel time.Duration `json:"second_channel_ns"` // median of opening one on the session
	Idle    BenchPings    `json:"ping_idle"`
	Load    BenchPings    `json:"ping_load"` // while the stream moves
}

// BenchRate is how fast bytes went, and what they cost.
type BenchRate struct {
	Bytes int64         `json:"bytes"`
	Took  time.Duration `json:"took_ns"`
	MBps  float64       `json:"mb_per_s"`      // 10^6 bytes
	CPU   float64       `json:"cpu_s_per_gib"` // processor time of this process, whatever it does besides
}

// BenchPings are round trips of one byte on a channel that is open.
type BenchPings struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
}

// BenchClock measures what happens from now on until it is asked.
func BenchClock() func(bytes int64) BenchRate {
	began, cpu := time.Now(), cpuTime()
	return func(bytes int64) BenchRate {
		r := BenchRate{Bytes: bytes, Took: time.Since(began)}
		r.MBps = float64(bytes) / 1e6 / r.Took.Seconds()
		r.CPU = (cpuTime() - cpu).Seconds() / (float64(max(bytes, 1)) / (1 << 30))
		return r
	}
}

func percentiles(took []time.Duration) BenchPings {
	if len(took) == 0 {
		return BenchPings{}
	}
	slices.Sort(took)
	return BenchPings{Count: len(took), P50: took[len(took)/2], P99: took[min(len(took)-1, len(took)*99/100)]}
}

// takeBench answers the bench channel of a device.
func (d *Daemon) takeBench(in *connmgr.Incoming) {
	if !d.contacts.policyOf(in.Peer).Bench {
		_ = in.Decline("measuring is not allowed here")
		return
	}
	d.serve(in, d.benchTask)
}

// benchTask counts what comes until the other side ends, a limit is reached, or time is over.
func (d *Daemon) benchTask(in *connmgr.Incoming) {
	if !d.benching.CompareAndSwap(false, true) {
		_ = in.Decline("another measurement runs")
		return
	}
	defer d.benching.Store(false)
	ch, err := in.Accept()
	if err != nil {
		return // the channel was gone before it was accepted
	}
	defer ch.Close()
	ch.SetPriority(mux.Bulk)
	_ = ch.SetDeadline(time.Now().Add(benchTime))
	stop := context.AfterFunc(d.ctx, func() { _ = ch.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	n, err := io.Copy(io.Discard, io.LimitReader(ch, MaxBench))
	if err == nil {
		_, _ = ch.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
}

// Bench measures the way to a contact that lets itself be measured with: a stream, a second channel, and pings on the idle session and under the stream.
func (d *Daemon) Bench(ctx context.Context, req BenchRequest) (out BenchObject, err error) {
	if req.Size < 1 || req.Size > MaxBench {
		return out, cli.Errorf("E_USAGE", "a measurement has 1 to %d bytes, not %d", MaxBench, req.Size)
	}
	to, err := d.contacts.Resolve(req.Peer)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*benchTime)
	defer cancel()
	out = BenchObject{Envelope: envelope("bench"), Peer: PeerRef{to.Name, to.Device.String()}}
	first, err := d.Probe(ctx, PingRequest{Peer: req.Peer, Size: 1}) // and the session, where there is none
	if err != nil {
		return out, err
	}
	out.Path = first.Path
	if _, err := d.benchStream(ctx, to, 0); err != nil { // so that a no is said at once
		return out, err
	}
	var opens []time.Duration
	for began := time.Now(); len(opens) < benchChannels && time.Since(began) < benchLooks; {
		p, err := d.Probe(ctx, PingRequest{Peer: req.Peer, Size: 1})
		if err != nil {
			return out, err
		}
		opens = append(opens, p.Open)
	}
	out.Channel = percentiles(opens).P50
	if out.Idle, err = d.pings(ctx, to, benchPings, nil); err != nil {
		return out, err
	}
	var load sync.WaitGroup
	done := make(chan struct{})
	load.Go(func() { out.Load, _ = d.pings(ctx, to, maxLoadPings, done) })
	out.Stream, err = d.benchStream(ctx, to, req.Size)
	close(done)
	load.Wait()
	return out, err
}

// benchStream opens the bench channel and sends so much on it.
func (d *Daemon) benchStream(ctx context.Context, to Contact, size int64) (BenchRate, error) {
	ch, _, err := d.manager.Connect(ctx, to.Device, benchChannel)
	var declined *mux.DeclinedError
	if errors.As(err, &declined) {
		return BenchRate{}, cli.Errorf("E_DENIED", "%s does not let itself be measured with", to.Name).Because(errors.New(declined.Reason)).
			Hint("there: node contact set %s bench=on", d.cfg.Name)
	}
	if err != nil {
		return BenchRate{}, explain(err, to.Name)
	}
	defer ch.Close()
	rate, err := stream(ctx, ch, size)
	if err != nil {
		return rate, explain(err, to.Name)
	}
	return rate, nil
}

// stream writes bytes, and waits until the other side has counted them.
func stream(ctx context.Context, ch *mux.Channel, size int64) (BenchRate, error) {
	ch.SetPriority(mux.Bulk)
	_ = ch.SetDeadline(time.Now().Add(benchTime))
	stop := context.AfterFunc(ctx, func() { _ = ch.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	clock := BenchClock()
	block := make([]byte, 256<<10)
	for left := size; left > 0; {
		n, err := ch.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return BenchRate{}, err
		}
		left -= int64(n)
	}
	if err := ch.CloseWrite(); err != nil {
		return BenchRate{}, err
	}
	var counted [8]byte
	if _, err := io.ReadFull(ch, counted[:]); err != nil {
		return BenchRate{}, err
	}
	rate := clock(size)
	if n := binary.BigEndian.Uint64(counted[:]); n != uint64(size) {
		return rate, errors.New("daemon: bench: other bytes were counted than were sent")
	}
	return rate, nil
}

// pings measures round trips of one byte on a channel of its own: so many, or until it is to end.
func (d *Daemon) pings(ctx context.Context, to Contact, most int, until <-chan struct{}) (BenchPings, error) {
	ch, _, err := d.manager.Connect(ctx, to.Device, pingChannel)
	if err != nil {
		return BenchPings{}, explain(err, to.Name)
	}
	defer ch.Close()
	ch.SetPriority(mux.Interactive)
	_ = ch.SetDeadline(time.Now().Add(pingTimeout))
	stop := context.AfterFunc(ctx, func() { _ = ch.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var took []time.Duration
	first := time.Now()
	for b := make([]byte, 1); len(took) < most; {
		select {
		case <-until:
			return percentiles(took), nil
		default:
		}
		began := time.Now()
		if until == nil && began.Sub(first) > benchLooks {
			break
		}
		if _, err := ch.Write(b); err != nil {
			return percentiles(took), explain(err, to.Name)
		}
		if _, err := io.ReadFull(ch, b); err != nil {
			return percentiles(took), explain(err, to.Name)
		}
		took = append(took, time.Since(began))
	}
	return percentiles(took), nil
}

func (d *Daemon) postBench(r *http.Request) (any, error) {
	var req BenchRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.Bench(r.Context(), req)
}
