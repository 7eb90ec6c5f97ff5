package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"traverse.internal/transfer"
)

// fileCopy is one file over TLS from memory to memory, compared at the end: ours
// through mux and transfer with its digest at both ends, scp with its fastest
// cipher. What is counted is the CPU of all processes of both ends, from start to end.
var fileCopy = bench{
	name:  "file",
	units: []string{"CPU s/GiB, both ends"},
	must:  []string{"1.14x"}, // 2.9 against 3.3
	open:  openFile,
}

func openFile(ctx context.Context, set settings) (*rig, error) {
	dir, err := scratch(3 * set.file)
	if err != nil {
		return nil, err
	}
	g := &rig{close: func() { os.RemoveAll(dir) }}
	source := filepath.Join(dir, "source")
	if err := writeNoise(source, set.file); err != nil {
		g.close()
		return nil, err
	}
	// The pages of the copies are used once before, so that the first variant does
	// not pay for a virtual machine's getting them from its host.
	warm := filepath.Join(dir, "warm")
	if err := errors.Join(writeNoise(warm, set.file), os.Remove(warm)); err != nil {
		g.close()
		return nil, err
	}
	f := fileRun{dir: dir, source: source, size: set.file}
	if f.sum, err = fileSum(source); err != nil {
		g.close()
		return nil, err
	}
	g.variants = []variant{{"transfer", false, f.transfer}}
	scp, missing, err := newSCP(f)
	if err != nil {
		g.close()
		return nil, err
	}
	if missing != "" {
		g.missing = []string{missing}
	} else {
		g.variants = append(g.variants, variant{"scp", false, scp.run})
	}
	return g, nil
}

// fileRun is the file that is copied.
type fileRun struct {
	dir, source string
	size        int64
	sum         [32]byte
}

func (f fileRun) transfer(ctx context.Context) (sample, error) {
	inbox := filepath.Join(f.dir, "inbox")
	defer os.RemoveAll(inbox)
	sent, received, err := runPair(ctx, "transfer", time.Minute, []string{inbox}, []string{f.source})
	if err != nil {
		return sample{}, err
	}
	return f.sample(filepath.Join(inbox, "source"), sent.process+received.process, sent.Wall)
}

// sample compares the copy, and turns CPU seconds into a cost.
func (f fileRun) sample(copied string, cpu, wall float64) (sample, error) {
	sum, err := fileSum(copied)
	if err != nil {
		return sample{}, err
	}
	if !bytes.Equal(sum[:], f.sum[:]) {
		return sample{}, fmt.Errorf("%s is not what was sent", copied)
	}
	gib := float64(f.size) / (1 << 30)
	return sample{[]float64{cpu / gib}, fmt.Sprintf("%.0f MB/s", float64(f.size)/1e6/wall)}, nil
}

func fileSum(path string) (sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

// noise is an endless stream of bytes that do not compress, the same every time.
func noise() io.Reader { return rand.NewChaCha8([32]byte{}) }

// transferKind is ours: package transfer over a channel.
type transferKind struct{}

func (transferKind) receive(ctx context.Context, args []string, say func(string)) (report, error) {
	if len(args) != 1 {
		return report{}, fmt.Errorf("want a directory, have %q", args)
	}
	dir, err := transfer.OpenDir(args[0])
	if err != nil {
		return report{}, err
	}
	defer dir.Close()
	c, end, err := acceptChannel(ctx, say)
	if err != nil {
		return report{}, err
	}
	defer end()
	return spent(func() (int64, error) {
		in, err := transfer.ReadOffer(ctx, c, transfer.ReceiveOptions{})
		if err != nil {
			return 0, err
		}
		res, err := in.Accept(ctx, dir, transfer.AcceptOptions{})
		return res.Size, err
	})
}

func (transferKind) send(ctx context.Context, addr string, args []string) (report, error) {
	if len(args) != 1 {
		return report{}, fmt.Errorf("want a file, have %q", args)
	}
	src, err := transfer.NewSource(args[0])
	if err != nil {
		return report{}, err
	}
	defer src.Close()
	id := transfer.NewID()
	c, end, err := openChannel(ctx, addr, transfer.ChannelName(id))
	if err != nil {
		return report{}, err
	}
	defer end()
	return spent(func() (int64, error) {
		res, err := transfer.Send(ctx, c, src, transfer.SendOptions{ID: id})
		return res.Size, err
	})
}
