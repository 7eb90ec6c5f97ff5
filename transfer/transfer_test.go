package transfer

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
)

// content makes n bytes that differ from block to block.
func content(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	src.Read(b)
	return b
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sourceOf(t *testing.T, path string) *Source {
	t.Helper()
	src, err := NewSource(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func openDir(t *testing.T) *Dir {
	t.Helper()
	dir, err := OpenDir(filepath.Join(t.TempDir(), "downloads"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// names lists a directory, hidden files too.
func names(t *testing.T, dir *Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(dir.Path())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func wantEmpty(t *testing.T, dir *Dir) {
	t.Helper()
	if list := names(t, dir); len(list) > 0 {
		t.Errorf("left in the directory: %q", list)
	}
}

type outcome struct {
	res Result
	err error
}

// send runs Send beside the test.
func send(ctx context.Context, s Stream, src *Source, opt SendOptions) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		res, err := Send(ctx, s, src, opt)
		done <- outcome{res, err}
	}()
	return done
}

// receive reads the offer and accepts it.
func receive(ctx context.Context, s Stream, dir *Dir, opt AcceptOptions) (Result, error) {
	in, err := ReadOffer(ctx, s, ReceiveOptions{})
	if err != nil {
		return Result{}, err
	}
	return in.Accept(ctx, dir, opt)
}

// wantKind checks how one side ended, and that the word agrees.
func wantKind(t *testing.T, who string, err, kind error, by Side) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || e.By != by {
		t.Errorf("%s ended with %v, want %v by %v", who, err, kind, by)
	}
}

// TestTransfer sends files of every interesting size over every kind of stream.
func TestTransfer(t *testing.T) {
	streams := map[string]func(t *testing.T) (Stream, Stream){
		"memory": func(*testing.T) (Stream, Stream) { a, b := memPipe(""); return a, b },
		"memory with ReadFrom": func(*testing.T) (Stream, Stream) {
			a, b := memPipe("")
			return &readerFromStream{memStream: a}, b
		},
		"tcp": func(t *testing.T) (Stream, Stream) { return tcpPipe(t) },
	}
	sizes := []int{0, 1, 8192, 8193, blockSize - 1, blockSize, blockSize + 1, 9*blockSize + 77}
	for name, pipe := range streams {
		t.Run(name, func(t *testing.T) {
			for _, size := range sizes {
				data := content(size)
				src := sourceOf(t, writeFile(t, "a file.bin", data))
				dir := openDir(t)
				a, b := pipe(t)
				var up, down Progress
				sent := send(t.Context(), a, src, SendOptions{Progress: &up})
				in, err := ReadOffer(t.Context(), b, ReceiveOptions{Progress: &down})
				if err != nil {
					t.Fatal(err)
				}
				offer := in.Offer()
				if offer.Name != "a file.bin" || offer.Size != int64(size) || !ValidID(offer.ID) {
					t.Errorf("offer is %+v", offer)
				}
				got, err := in.Accept(t.Context(), dir, AcceptOptions{})
				if err != nil {
					t.Fatalf("size %d: %v", size, err)
				}
				out := <-sent
				if out.err != nil {
					t.Fatalf("size %d: %v", size, out.err)
				}
				if !reflect.DeepEqual(got, out.res) {
					t.Errorf("receiver has %+v, sender %+v", got, out.res)
				}
				stored, err := os.ReadFile(filepath.Join(dir.Path(), got.Name))
				if err != nil || !bytes.Equal(stored, data) {
					t.Errorf("size %d: stored %d bytes, %v", size, len(stored), err)
				}
				if list := names(t, dir); len(list) != 1 {
					t.Errorf("size %d: directory has %q", size, list)
				}
				for _, p := range []*Progress{&up, &down} {
					if p.Phase() != Done || p.Bytes() != int64(size) {
						t.Errorf("size %d: progress says %v, %d", size, p.Phase(), p.Bytes())
					}
				}
				<-in.Done()
				if in.Err() != nil {
					t.Errorf("Err is %v after success", in.Err())
				}
			}
		})
	}
}

// TestNeverReplaces: five files of one name, and one that was there before.
func TestNeverReplaces(t *testing.T) {
	dir := openDir(t)
	mine := filepath.Join(dir.Path(), "photo.jpg")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	src := sourceOf(t, writeFile(t, "photo.jpg", []byte("theirs")))
	for range 3 {
		a, b := memPipe("")
		sent := send(t.Context(), a, src, SendOptions{})
		if _, err := receive(t.Context(), b, dir, AcceptOptions{}); err != nil {
			t.Fatal(err)
		}
		if out := <-sent; out.err != nil {
			t.Fatal(out.err)
		}
	}
	want := "photo (1).jpg photo (2).jpg photo (3).jpg photo.jpg"
	if got := strings.Join(names(t, dir), " "); got != want {
		t.Errorf("directory has %q, want %q", got, want)
	}
	if b, _ := os.ReadFile(mine); string(b) != "mine" {
		t.Errorf("the file that was there is now %q", b)
	}
}

// TestIDs: the header, the channel's name and the options agree on the id.
func TestIDs(t *testing.T) {
	id := NewID()
	if got, ok := ParseChannelName(ChannelName(id)); !ok || got != id {
		t.Errorf("ParseChannelName: %q, %v", got, ok)
	}
	for _, bad := range []string{"", "t-", "t-" + strings.Repeat("A", 26), "t-" + strings.Repeat("a", 25), "t-" + strings.Repeat("1", 26)} {
		if ValidID(bad) {
			t.Errorf("ValidID(%q)", bad)
		}
	}
	src := sourceOf(t, writeFile(t, "f", nil))

	a, b := memPipe(id)
	sent := send(t.Context(), namedStream{a}, src, SendOptions{})
	res, err := receive(t.Context(), namedStream{b}, openDir(t), AcceptOptions{})
	if out := <-sent; err != nil || out.err != nil || res.ID != id || out.res.ID != id {
		t.Errorf("got %v, %v and %v, %v; want id %s", res, err, out.res, out.err, id)
	}

	a, b = memPipe(id)
	sent = send(t.Context(), a, src, SendOptions{ID: NewID()})
	_, err = receive(t.Context(), namedStream{b}, openDir(t), AcceptOptions{})
	wantKind(t, "receiver", err, ErrProtocol, Local)
	wantKind(t, "sender", (<-sent).err, ErrProtocol, Remote)
}

// TestCounters: every transfer is counted once, by direction and outcome.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counters Counters
		src := sourceOf(t, writeFile(t, "f", content(1000)))
		dir := openDir(t)
		for i := range 3 {
			a, b := memPipe("")
			sent := send(t.Context(), a, src, SendOptions{Counters: &counters})
			in, err := ReadOffer(t.Context(), b, ReceiveOptions{Counters: &counters})
			if err != nil {
				t.Fatal(err)
			}
			if s := counters.Stats(); s.Send.Active != 1 || s.Receive.Active != 1 {
				t.Errorf("active: %+v", s)
			}
			if i == 0 {
				in.Decline("")
			} else {
				in.Accept(t.Context(), dir, AcceptOptions{})
			}
			<-sent
		}
		s := counters.Stats()
		for _, d := range []DirectionStats{s.Send, s.Receive} {
			if d.Active != 0 || d.Bytes != 2000 || d.Outcomes["done"] != 2 || d.Outcomes["declined"] != 1 || len(d.Outcomes) != len(kinds)+1 {
				t.Errorf("counted %+v", d)
			}
		}
	})
}

// TestClockSet: how long a transfer runs is measured by a clock that nobody sets.
func TestClockSet(t *testing.T) {
	a, b := memPipe("")
	var p Progress
	sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(big))), SendOptions{Progress: &p})
	if !p.Began().IsZero() {
		t.Error("it began before it was accepted")
	}
	if _, err := receive(t.Context(), b, openDir(t), AcceptOptions{}); err != nil {
		t.Fatal(err)
	}
	if out := <-sent; out.err != nil {
		t.Fatal(out.err)
	}
	if at := p.Began(); at.IsZero() || at == at.Round(0) { // Round(0) takes the monotonic reading away
		t.Errorf("began at %v, without a monotonic reading", at)
	}
}
