package zerocopy

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// takeAllPipes leaves none to the pumps until the test ends.
func takeAllPipes(t *testing.T) { leavePipes(t, 0) }

// leavePipes leaves so many to the pumps until the test ends.
func leavePipes(t *testing.T, left int) {
	t.Helper()
	var held []pipe
	for len(held) < MaxPipes-left {
		p, ok := pipes.get()
		if !ok {
			t.Fatalf("the pool lent %d pipes, want %d", len(held), MaxPipes-left)
		}
		held = append(held, p)
	}
	t.Cleanup(func() {
		for _, p := range held {
			pipes.put(p)
		}
	})
}

// Receivers that read nothing do not keep others from splicing: when there are no more pipes, they give theirs up, and not a byte
// of what was in them is lost.
func TestStalledReceiversGiveTheirPipesUp(t *testing.T) {
	const stuck = 2
	leavePipes(t, stuck)
	data := noise(5, 4<<20)
	var slow []*line
	for range stuck {
		l := newLine(t, Options{})
		for _, c := range []*net.TCPConn{l.near, l.a, l.b, l.far} { // little fits between them
			_ = c.SetReadBuffer(64 << 10)
			_ = c.SetWriteBuffer(64 << 10)
		}
		slow = append(slow, l)
		go func() {
			if _, err := l.near.Write(data); err == nil {
				_ = l.near.CloseWrite()
			}
		}()
	}
	waitUntil(t, "both to stand still with a pipe each", func() bool {
		pipes.mu.Lock()
		defer pipes.mu.Unlock()
		return len(pipes.stalled) == stuck && pipes.open == MaxPipes && len(pipes.idle) == 0
	})
	before := ReadStats()
	var flow Flow
	quick := newLine(t, Options{AToB: &flow})
	message := noise(6, 1<<20)
	go func() { _ = send(quick.near, message) }()
	if got, err := io.ReadAll(quick.far); err != nil || !bytes.Equal(got, message) {
		t.Errorf("far read %d bytes, %v", len(got), err)
	}
	quick.far.Close()
	_ = quick.wait(t)
	after := ReadStats()
	if flow.Copied.Load() > 0 || flow.Spliced.Load() != uint64(len(message)) || after.PipeMisses != before.PipeMisses {
		t.Errorf("%d bytes spliced, %d copied, %d misses, want none", flow.Spliced.Load(), flow.Copied.Load(), after.PipeMisses-before.PipeMisses)
	}
	if after.Rescues == before.Rescues {
		t.Error("nobody gave a pipe up")
	}
	for _, l := range slow {
		if got, err := io.ReadAll(l.far); err != nil || !bytes.Equal(got, data) {
			t.Errorf("a slow receiver got %d bytes of %d, equal %v, %v", len(got), len(data), bytes.Equal(got, data), err)
		}
		l.far.Close()
		_ = l.wait(t)
	}
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	if pipes.rescued != 0 || len(pipes.stalled) != 0 {
		t.Errorf("%d are rescued, %d stalled, of none", pipes.rescued, len(pipes.stalled))
	}
}

func waitUntil(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !reached(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A chunk that comes to a quiet connection takes two moves and a look whether there is more.
func TestCallsForAChunk(t *testing.T) {
	const chunks = 200
	l := newLine(t, Options{})
	chunk := make([]byte, 16<<10)
	before := ReadStats().Calls
	for range chunks {
		if _, err := l.near.Write(chunk); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(l.far, chunk); err != nil {
			t.Fatal(err)
		}
	}
	l.near.Close()
	l.far.Close()
	_ = l.wait(t)
	// A chunk may be seen in parts: some more.
	if calls := ReadStats().Calls - before; calls > 4*chunks {
		t.Errorf("%d calls for %d chunks, want 3 each", calls, chunks)
	} else {
		t.Logf("%d calls for %d chunks", calls, chunks)
	}
}

func TestIdleConnectionsHoldNoPipe(t *testing.T) {
	var lines []*line
	for range MaxPipes { // twice as many pumps as pipes
		l := newLine(t, Options{})
		lines = append(lines, l)
		for _, way := range [][2]io.ReadWriter{{l.near, l.far}, {l.far, l.near}} {
			if _, err := way[0].Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for end := time.Now().Add(10 * time.Second); ; {
		s := ReadStats()
		if s.PipesOpen == s.PipesIdle {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("pipes open %d, idle %d", s.PipesOpen, s.PipesIdle)
		}
	}
	for _, l := range lines {
		l.near.Close()
		l.far.Close()
		_ = l.wait(t)
	}
}

func TestPipeWithBytesIsNotPooled(t *testing.T) {
	before := ReadStats()
	p := &pump{flow: new(Flow)}
	p.pipe, p.piped = pipes.get()
	p.left = 1
	p.drop()
	if after := ReadStats(); after.PipesIdle > before.PipesIdle || after.PipesOpen > before.PipesOpen {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
