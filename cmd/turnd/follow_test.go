package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollow: a file that is replaced, written anew, removed, or led to by another link is one reload each, after it has
// been still for a while; one that is being written is none yet.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	plain, link := filepath.Join(dir, "users"), filepath.Join(dir, "secret")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	turn := func(to string) {
		t.Helper()
		if err := os.Symlink(to, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	put(plain, "a")
	put(filepath.Join(dir, "one"), "1")
	put(filepath.Join(dir, "two"), "1")
	turn("one")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		reload, ended := make(chan struct{}, 1), make(chan error, 1)
		go func() {
			ended <- follow(ctx, []string{plain, link, filepath.Join(dir, "none")}, time.Second, reload, slog.New(slog.DiscardHandler))
		}()
		reloads := func(seconds int) (n int) {
			for range seconds {
				time.Sleep(time.Second) // of the bubble
				synctest.Wait()
				select {
				case <-reload:
					n++
				default:
				}
			}
			return n
		}
		if n := reloads(5); n != 0 {
			t.Errorf("%d reloads of files that are as they were", n)
		}
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"written anew", func() { put(plain, "b2") }},
			{"led to another file of the same length", func() { turn("two") }},
			{"removed", func() { _ = os.Remove(plain) }},
			{"there again", func() { put(plain, "c") }},
			{"there for the first time", func() { put(filepath.Join(dir, "none"), "d") }},
		} {
			step.do()
			if n := reloads(5); n != 1 {
				t.Errorf("%s: %d reloads, want 1", step.name, n)
			}
		}
		put(plain, "c")
		for i := range 5 {
			put(plain, "longer and longer"[:i+2])
			if n := reloads(1); n != 0 {
				t.Error("a reload while the file is being written")
			}
		}
		if n := reloads(3); n != 1 {
			t.Errorf("%d reloads after it was written, want 1", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
