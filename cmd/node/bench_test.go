package main

import (
	"testing"
	"time"

	"traverse.internal/daemon"
)

// More MB/s is better, less of everything else is, and what one run lacks is not compared.
func TestCompareBench(t *testing.T) {
	before := daemon.BenchObject{Stream: daemon.BenchRate{MBps: 100, CPU: 2}, File: &daemon.BenchRate{MBps: 50, CPU: 4}, Channel: time.Millisecond}
	now := daemon.BenchObject{Stream: daemon.BenchRate{MBps: 200, CPU: 3}, Channel: time.Millisecond, Idle: daemon.BenchPings{P50: 1}}
	want := map[string]benchRatio{
		"stream.mb_per_s":      {"stream.mb_per_s", 100, 200, 2, true},
		"stream.cpu_s_per_gib": {"stream.cpu_s_per_gib", 2, 3, 1.5, false},
		"second_channel_ns":    {"second_channel_ns", 1e6, 1e6, 1, true},
	}
	got := compareBench(before, now)
	for _, c := range got {
		if c != want[c.Figure] {
			t.Errorf("got %+v, want %+v", c, want[c.Figure])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, want %d", len(got), len(want))
	}
}
