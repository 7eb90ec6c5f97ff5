package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"traverse.internal/core/treehash"
)

// floorKind is what a file cannot be had without: it is read, hashed, sealed by crypto/tls, sent, opened, hashed and written, 256 KiB at a
// time, by one goroutine at each end. No offer, no mux, no journal, nothing told to the disk, nothing compared. It is no opponent; it shows
// which part of a cost is ours to save on this machine, in the same minute.
type floorKind struct{}

const floorBlock = 256 << 10

func (floorKind) receive(ctx context.Context, args []string, say func(string)) (report, error) {
	if len(args) != 1 {
		return report{}, errors.New("want a folder")
	}
	conn, err := acceptPlain(ctx, say)
	if err != nil {
		return report{}, err
	}
	defer conn.Close()
	f, err := os.Create(filepath.Join(args[0], "source"))
	if err != nil {
		return report{}, err
	}
	defer f.Close()
	r, err := spent(func() (int64, error) { return hashed(f, conn) })
	if err == nil {
		err = conn.CloseWrite()
	}
	return r, err
}

func (floorKind) send(ctx context.Context, addr string, args []string) (report, error) {
	if len(args) != 1 {
		return report{}, errors.New("want a file")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return report{}, err
	}
	defer f.Close()
	conn, err := dialPlain(ctx, addr)
	if err != nil {
		return report{}, err
	}
	defer conn.Close()
	return spent(func() (int64, error) {
		n, err := hashed(conn, f)
		if err == nil {
			err = conn.CloseWrite()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
		}
		return n, err
	})
}

// hashed copies, and hashes what it copies.
func hashed(to io.Writer, from io.Reader) (n int64, err error) {
	h, buf := treehash.New(nil), make([]byte, floorBlock)
	for {
		k, err := io.ReadFull(from, buf)
		h.Write(buf[:k])
		if _, werr := to.Write(buf[:k]); werr != nil {
			return n, werr
		}
		n += int64(k)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			h.Sum()
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// floor runs it.
func (f fileRun) floor(ctx context.Context) (sample, error) {
	inbox := filepath.Join(f.dir, "floor")
	if err := os.Mkdir(inbox, 0o755); err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(inbox)
	sent, received, err := runPair(ctx, "floor", time.Minute, []string{inbox}, []string{f.source})
	if err != nil {
		return sample{}, err
	}
	return f.sample(filepath.Join(inbox, "source"), sent.process+received.process, sent.Wall)
}
