package zerocopy

import (
	"io"
	"testing"
	"time"
)

// takeAllPipes leaves none to the pumps until the test ends.
func takeAllPipes(t *testing.T) {
	t.Helper()
	var held []pipe
	for {
		p, ok := pipes.get()
		if !ok {
			break
		}
		held = append(held, p)
	}
	if len(held) != MaxPipes {
		t.Fatalf("the pool lent %d pipes, want %d", len(held), MaxPipes)
	}
	t.Cleanup(func() {
		for _, p := range held {
			pipes.put(p)
		}
	})
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
