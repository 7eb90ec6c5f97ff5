package daemon

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"traverse.internal/core/mux"
)

// heap is what is reachable.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A contact that opens 100,000 channels gets answers, not memory: what is there none of is declined, what is served is so for 64 at a time. Others are served meanwhile.
func TestContactOpensManyChannels(t *testing.T) {
	node := startNode(t, "node", nil, nil)
	greedy := startNode(t, "greedy", node, nil)
	other := startNode(t, "other", node, nil)
	join(t, node, greedy, false)
	join(t, node, other, false)
	if _, _, _, err := other.Ping(t.Context(), "node"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*labPatience)
	defer cancel()

	// Those that stay open: more than are served at a time.
	var held []*mux.Channel
	busy := 0
	for range 4 * maxServed {
		ch, _, err := greedy.manager.Connect(ctx, node.self, pingChannel)
		var declined *mux.DeclinedError
		switch {
		case err == nil:
			held = append(held, ch)
		case errors.As(err, &declined) && declined.Reason == "busy":
			busy++
		default:
			t.Fatal(err)
		}
	}
	if len(held) != maxServed || busy != 3*maxServed {
		t.Errorf("%d channels are served and %d declined, want %d and %d", len(held), busy, maxServed, 3*maxServed)
	}

	many := 100_000
	if raceDetector {
		many = 10_000
	}
	before := heap()
	var asked, wrong atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for asked.Add(1) <= int64(many) && ctx.Err() == nil {
				_, _, err := greedy.manager.Connect(ctx, node.self, "nothing of that name")
				if declined := (*mux.DeclinedError)(nil); !errors.As(err, &declined) {
					wrong.Add(1)
				}
			}
		})
	}
	for range 20 {
		if _, _, _, err := other.Ping(ctx, "node"); err != nil {
			t.Errorf("another contact meanwhile: %v", err)
		}
	}
	wg.Wait()
	if n := wrong.Load(); n > 0 || ctx.Err() != nil {
		t.Errorf("%d of %d requests were not declined, %v", n, many, ctx.Err())
	}
	if after := heap(); after > before+16<<20 {
		t.Errorf("%d requests left %d KiB behind", many, (after-before)>>10)
	}
	for _, ch := range held {
		ch.Close()
	}
	until(t, "the contact is served again", func() bool { _, _, _, err := greedy.Ping(ctx, "node"); return err == nil })
}

// A program that never reads what a contact sends it holds that contact's channel up, within a window's memory, and nothing else.
func TestReceiverThatNeverReads(t *testing.T) {
	node := startNode(t, "node", nil, nil)
	sender := startNode(t, "sender", node, nil)
	join(t, node, sender, false)
	ctx, cancel := context.WithTimeout(t.Context(), 4*labPatience)
	defer cancel()
	asleep := make(chan *Stream, 1)
	go func() {
		s, err := node.client.Listen(ctx, ListenRequest{Name: "sink"})
		if err != nil {
			t.Errorf("listen: %v", err)
		}
		asleep <- s
	}()
	var pipe *Stream
	until(t, "the sink listens", func() (ok bool) {
		var err error
		pipe, err = sender.client.Pipe(ctx, PipeRequest{Peer: "node", Name: "sink"})
		return err == nil
	})
	sink := <-asleep
	if sink == nil {
		t.FailNow()
	}
	defer sink.Close()

	before := heap()
	var wrote atomic.Int64
	writing := make(chan error, 1)
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := pipe.Write(b)
			wrote.Add(int64(n))
			if err != nil {
				writing <- err
				return
			}
		}
	}()
	// It is held up when a hundred round trips on the same session bring no byte further.
	until(t, "the writer is held up", func() bool {
		was := wrote.Load()
		for range 100 {
			if _, _, _, err := sender.Ping(ctx, "node"); err != nil {
				t.Fatalf("another channel meanwhile: %v", err)
			}
		}
		return was > 0 && wrote.Load() == was
	})
	const most = 64 << 20 // two windows of 16 MiB, and the sockets of two programs
	if n := wrote.Load(); n > most {
		t.Errorf("%d MiB were taken from the writer", n>>20)
	}
	if after := heap(); after > before+most {
		t.Errorf("%d MiB are held for it", (after-before)>>20)
	}
	pipe.Close()
	select {
	case <-writing:
	case <-time.After(labPatience):
		t.Error("the writer is still held up after the end")
	}
}
