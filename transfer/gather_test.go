package transfer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// holder is one that a test gathers from.
type holder struct {
	path  string
	wrap  func(Stream) Stream // of its side of the stream; nil: as it is
	taken int64               // bytes that were of use
	runs  int
	err   error
}

// gatherFrom asks each of the holders for shares until all is here, as the daemon does.
func gatherFrom(t *testing.T, ctx context.Context, g *Gathering, holders []*holder) { //nolint:revive // t first, as in a test
	t.Helper()
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	for _, h := range holders {
		all.Go(func() {
			for !g.Complete() && h.err == nil && ctx.Err() == nil {
				a, b := memPipe("")
				theirs := Stream(a)
				if h.wrap != nil {
					theirs = h.wrap(a)
				}
				src, err := NewSource(h.path)
				if err != nil {
					h.err = err
					return
				}
				sent := send(ctx, theirs, src, SendOptions{})
				in, err := ReadOffer(ctx, b, ReceiveOptions{})
				if err == nil {
					var n int64
					n, err = g.Take(ctx, in)
					h.taken, h.runs = h.taken+n, h.runs+1
					if n == 0 && err == nil && !g.Complete() {
						select { // the others' last chunks are coming
						case <-time.After(50 * time.Millisecond):
						case <-ctx.Done():
						}
					}
				}
				<-sent
				h.err = err
				if g.Complete() {
					cancel(errEnough)
				}
			}
		})
	}
	all.Wait()
	cancel(nil)
}

// slowStream waits before each write.
type slowStream struct {
	Stream
	wait time.Duration
}

func (s slowStream) Write(b []byte) (int, error) {
	<-time.After(s.wait)
	return s.Stream.Write(b)
}

// silentStream takes writes, beyond the first bytes, and says nothing.
type silentStream struct {
	Stream
	left int
}

func (s *silentStream) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		return len(b), nil
	}
	return s.Stream.Write(b)
}

// CloseWrite says nothing either.
func (s *silentStream) CloseWrite() error { return nil }

// TestGather: several holders send a file at once; one that is slow, one that dies and one that falls silent do not keep it from coming, whole.
func TestGather(t *testing.T) {
	const size = 12*ChunkLen + 12345
	want := content(size)
	evenly := func(s Stream) Stream { return slowStream{s, 10 * time.Millisecond} }
	for name, wraps := range map[string][]func(Stream) Stream{
		"one":          {nil},
		"three":        {evenly, evenly, evenly},
		"one is slow":  {func(s Stream) Stream { return slowStream{s, 3 * time.Second} }, nil},
		"one dies":     {func(s Stream) Stream { return &cutStream{Stream: s, after: 5*ChunkLen + 99} }, nil, nil},
		"one is mute":  {func(s Stream) Stream { return &silentStream{s, 3*ChunkLen + 7} }, nil},
		"all but one":  {func(s Stream) Stream { return &silentStream{s, 300} }, func(s Stream) Stream { return &cutStream{Stream: s, after: ChunkLen} }, nil},
		"slow and out": {func(s Stream) Stream { return slowStream{s, time.Second} }, func(s Stream) Stream { return &cutStream{Stream: s, after: 9 * ChunkLen} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var holders []*holder
				for _, wrap := range wraps {
					holders = append(holders, &holder{path: writeFile(t, "f", want), wrap: wrap})
				}
				dir, progress := openDir(t), new(Progress)
				g := NewGathering(testID, dir, AcceptOptions{NoSync: true}, progress)
				gatherFrom(t, t.Context(), g, holders)
				res, err := g.Finish()
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(filepath.Join(dir.Path(), res.Name))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				sum := int64(0)
				for i, h := range holders {
					sum += h.taken
					t.Logf("holder %d: %d bytes in %d shares, %v", i, h.taken, h.runs, h.err)
				}
				if sum != size || progress.Bytes() != size {
					t.Errorf("%d bytes were of use, %d in the progress, of %d", sum, progress.Bytes(), size)
				}
				if name == "three" {
					for i, h := range holders {
						if h.taken == 0 {
							t.Errorf("holder %d brought nothing", i)
						}
					}
				}
			})
		})
	}
}

// TestGatherFolder: holders that stored it under other names and times still have the same; one that has other files is not taken from.
func TestGatherFolder(t *testing.T) {
	first, second, other := aTree(t), aTree(t), aTree(t)
	renamed := filepath.Join(filepath.Dir(second), "tree (1)")
	if err := errors.Join(os.Rename(second, renamed), os.Chtimes(filepath.Join(renamed, "b.txt"), time.Unix(5, 0), time.Unix(5, 0)), os.WriteFile(filepath.Join(other, "more"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	dir := openDir(t)
	g := NewGathering(testID, dir, AcceptOptions{NoSync: true}, nil)
	holders := []*holder{{path: first}, {path: renamed}}
	gatherFrom(t, t.Context(), g, holders)
	if len(g.Entries()) != 8 {
		t.Errorf("%d entries", len(g.Entries()))
	}
	wrong := &holder{path: other}
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, wrong.path), SendOptions{})
	in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Take(t.Context(), in)
	wantKind(t, "receiver", err, ErrDeclined, Local)
	wantKind(t, "holder", (<-sent).err, ErrDeclined, Remote)
	res, err := g.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(under(t, filepath.Join(dir.Path(), res.Name))); got != 6 {
		t.Errorf("%d files", got)
	}
	info, err := os.Stat(filepath.Join(dir.Path(), res.Name, "b.txt"))
	if err != nil || time.Since(info.ModTime()) < 0 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestGatherResumes: what was gathered with a journal is not asked for again.
func TestGatherResumes(t *testing.T) {
	const size = 12 * ChunkLen
	want, dir, path := content(size), openDir(t), filepath.Join(t.TempDir(), "journal")
	file := writeFile(t, "f", want)
	taken := int64(0)
	for run := range 2 {
		j, err := OpenJournal(path, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		g := NewGathering(testID, dir, AcceptOptions{NoSync: true, Journal: j}, nil)
		h := &holder{path: file}
		if run == 0 {
			h.wrap = func(s Stream) Stream { return &cutStream{Stream: s, after: 5 * ChunkLen} }
		}
		gatherFrom(t, t.Context(), g, []*holder{h})
		taken += h.taken
		if run == 1 {
			if _, err := g.Finish(); err != nil {
				t.Fatal(err)
			}
		}
		g.Close()
		j.Close()
	}
	got, _ := os.ReadFile(filepath.Join(dir.Path(), "f"))
	if !bytes.Equal(got, want) || taken != size {
		t.Errorf("%d bytes in the file, %d were taken", len(got), taken)
	}
}
