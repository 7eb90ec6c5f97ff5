package mux_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestFill: what is read into the queue arrives, between what is written; it waits for room as Write does.
func TestFill(t *testing.T) {
	a, b := newPair(t)
	from, to := open(t, a, b, "fill")
	if from.SendsFiles() {
		t.Error("a wire sends files")
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, more than a window
	got := make(chan []byte)
	go func() {
		all, err := io.ReadAll(to)
		if err != nil {
			t.Error(err)
		}
		got <- all
	}()
	r := bytes.NewReader(want)
	for at := 0; at < len(want); {
		n := min(100_000, len(want)-at)
		if at%3 == 0 {
			if _, err := from.Write(want[at : at+7]); err != nil {
				t.Fatal(err)
			}
			at, n = at+7, n-7
			_, _ = r.Seek(7, io.SeekCurrent)
		}
		done, err := from.Fill(n, func(p []byte) error {
			if len(p) == 0 || len(p) > n {
				t.Errorf("asked for %d bytes of %d", len(p), n)
			}
			_, err := io.ReadFull(r, p)
			return err
		})
		if done != n || err != nil {
			t.Fatalf("Fill(%d) = %d, %v", n, done, err)
		}
		at += n
	}
	if err := from.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes arrived, or other ones; want %d", len(all), len(want))
	}
	if st := a.Stats(); st.FileCopied == 0 {
		t.Error("no bytes counted as copied")
	}
}

// TestFillFails: what put could not make is not sent, and no empty frame, which would be the end; the channel goes on.
func TestFillFails(t *testing.T) {
	a, b := newPair(t)
	from, to := open(t, a, b, "fill")
	bad := errors.New("bad sector")
	for _, before := range []string{"", "some"} {
		if _, err := from.Write([]byte(before)); err != nil {
			t.Fatal(err)
		}
		if n, err := from.Fill(50_000, func([]byte) error { return bad }); n != 0 || !errors.Is(err, bad) {
			t.Errorf("Fill = %d, %v, want 0 and put's error", n, err)
		}
		if _, err := from.Write([]byte("more")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(before)+4)
		if _, err := io.ReadFull(to, got); err != nil || string(got) != before+"more" {
			t.Fatalf("%q arrived, %v, want %q", got, err, before+"more")
		}
	}
	if n, err := from.Fill(0, func([]byte) error { return bad }); n != 0 || err != nil {
		t.Errorf("Fill(0) = %d, %v", n, err)
	}
}

// TestFillEnds: a channel that is reset, or whose deadline passes, ends a Fill, also one whose put is at work.
func TestFillEnds(t *testing.T) {
	a, b := newPair(t)
	from, to := open(t, a, b, "fill")
	working, reset := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() {
		_, err := from.Fill(50_000, func([]byte) error {
			close(working)
			<-reset
			return nil
		})
		ended <- err
	}()
	<-working
	_ = to.Reset(uint16(framing.CodeApplication), "enough")
	if _, err := from.Read(make([]byte, 1)); err == nil {
		t.Fatal("read something of a channel that was reset")
	}
	close(reset)
	var gone *mux.ResetError
	if err := <-ended; !errors.As(err, &gone) {
		t.Errorf("Fill = %v, want a ResetError", err)
	}
	other, _ := open(t, a, b, "late")
	_ = other.SetWriteDeadline(time.Now().Add(-time.Second))
	if _, err := other.Fill(1, func([]byte) error { return nil }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Fill = %v, want that the deadline has passed", err)
	}
}
