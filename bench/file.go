package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"traverse.internal/transfer"
)

// fileBenches copy files over TLS from memory to memory, and compare them at the end: ours through mux and transfer with its
// digests at both ends, scp with its fastest cipher, rsync's daemon without any.
func fileBenches() []bench {
	return []bench{{
		group: "file", name: "file, direct", quick: true,
		units: []unit{{"CPU s/GiB, both ends", ratio(1.14, 1.3)}, {"the same, as it is", atMost(2.9, 2.5)}}, // 2.9 against 3.3
		open:  func(ctx context.Context, set settings) (*rig, error) { return openFile(set, 0) },
	}, {
		group: "file", name: "file, relayed", quick: true,
		units: []unit{{"CPU s/GiB of the relay alone", atMost(0.34, 0.30)}},
		open:  openRelayed,
	}, {
		group: "file", name: "2,000 files of 4 KiB", quick: true,
		units: []unit{{"s", atMost(0.5, 0.2)}},
		open:  func(ctx context.Context, set settings) (*rig, error) { return openFile(set, 2000) },
	}, {
		group: "file", name: "1 KiB file on a warm session",
		units: []unit{{"ms, median", atMost(10, 3)}},
		open:  openWarm,
	}, {
		group: "mux", name: "receiver that does not read", quick: true,
		units: []unit{{"MB of its process", atMost(64, 32)}},
		open:  openSlow,
	}, connectBench, slotBench}
}

// fileRun is the file, or folder, that is copied.
type fileRun struct {
	dir, source string
	size        int64
	files       int // 0: one file
	sum         [32]byte
}

// openFile copies one file, or a folder of many small ones, directly.
func openFile(set settings, files int) (*rig, error) {
	f, g, err := newFileRun(set, files)
	if err != nil {
		return nil, err
	}
	g.variants = []variant{{"transfer", false, f.transfer}}
	scp, missing, err := newSCP(f)
	if err != nil {
		g.close()
		return nil, err
	}
	if missing != "" {
		g.missing = append(g.missing, missing)
	} else {
		g.variants = append(g.variants, variant{"scp", false, scp.run})
	}
	if rsync, missing := newRsync(f); missing != "" {
		g.missing = append(g.missing, missing)
	} else {
		g.variants = append(g.variants, variant{"rsync, no crypto", true, rsync.run})
	}
	if files == 0 {
		g.variants = append(g.variants, variant{"floor", true, f.floor})
		for i, v := range g.variants {
			g.variants[i].run = func(ctx context.Context) (sample, error) {
				if err := f.warm(); err != nil {
					return sample{}, err
				}
				return v.run(ctx)
			}
		}
	}
	return g, nil
}

// newFileRun makes what is copied.
func newFileRun(set settings, files int) (f fileRun, g *rig, err error) {
	f = fileRun{size: set.file, files: files}
	if files > 0 {
		f.size = int64(files) * 4096
	}
	if f.dir, err = scratch(3 * f.size); err != nil {
		return f, nil, err
	}
	g = &rig{close: func() { os.RemoveAll(f.dir) }}
	f.source = filepath.Join(f.dir, "source")
	if files == 0 {
		err = writeNoise(f.source, f.size)
	} else {
		for i := range files {
			dir := filepath.Join(f.source, strconv.Itoa(i/100))
			err = errors.Join(err, os.MkdirAll(dir, 0o755), writeNoise(filepath.Join(dir, strconv.Itoa(i)), 4096))
		}
	}
	if err == nil {
		f.sum, err = treeSum(f.source)
	}
	if err != nil {
		g.close()
		return f, nil, err
	}
	return f, g, nil
}

// warm uses the pages of the next copy, so that it does not pay for a virtual machine's getting them from its host: what is free for some
// seconds a machine may give back (free page reporting of virtio's balloon), and getting it again costs more than the copy.
func (f fileRun) warm() error {
	path := filepath.Join(f.dir, "warm")
	return errors.Join(writeNoise(path, f.size), os.Remove(path))
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

// sample compares the copy, and turns what it took into a cost: CPU seconds of a GiB, or for many small files the time.
func (f fileRun) sample(copied string, cpu, wall float64) (sample, error) {
	sum, err := treeSum(copied)
	if err != nil {
		return sample{}, err
	}
	if !bytes.Equal(sum[:], f.sum[:]) {
		return sample{}, fmt.Errorf("%s is not what was sent", copied)
	}
	if f.files > 0 {
		return sample{[]float64{wall}, fmt.Sprintf("%.2f CPU s", cpu)}, nil
	}
	cost := cpu / (float64(f.size) / (1 << 30))
	return sample{[]float64{cost, cost}, fmt.Sprintf("%.0f MB/s", float64(f.size)/1e6/wall)}, nil
}

// treeSum is the digest of a file, or of all files of a folder with their paths in it.
func treeSum(path string) (sum [32]byte, err error) {
	h := sha256.New()
	err = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, name)
		f, err := os.Open(at)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(h, f)
		return err
	})
	return [32]byte(h.Sum(nil)), err
}

// noise is an endless stream of bytes that do not compress, the same every time.
func noise() io.Reader { return rand.NewChaCha8([32]byte{}) }

// openRelayed sends a file through a TCP allocation of each relay.
func openRelayed(ctx context.Context, set settings) (*rig, error) {
	f, g, err := newFileRun(set, 0)
	if err != nil {
		return nil, err
	}
	inner, err := set.pool.rig(ctx, []string{ours, coturn, anyOther}, func(ctx context.Context, r relay) (sample, error) {
		inbox := filepath.Join(f.dir, "inbox")
		defer os.RemoveAll(inbox)
		var wall float64
		cost, err := r.cost(func() (float64, error) {
			sent, _, err := runPairTo(ctx, &host{relay: r.host.peer}, "transfer", time.Minute, []string{inbox}, []string{f.source, r.addr.String()})
			wall = sent.Wall
			return float64(f.size) / (1 << 30), err
		})
		if err != nil {
			return sample{}, err
		}
		_, err = f.sample(filepath.Join(inbox, "source"), 0, wall)
		return sample{[]float64{cost}, fmt.Sprintf("%.0f MB/s", float64(f.size)/1e6/wall)}, err
	})
	if err != nil {
		g.close()
		return nil, err
	}
	inner.close = g.close
	return inner, nil
}

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
	if len(args) < 1 || len(args) > 2 {
		return report{}, fmt.Errorf("want a file, and perhaps a relay, have %q", args)
	}
	through := ""
	if len(args) == 2 {
		through = args[1]
	}
	src, err := transfer.NewSource(args[0])
	if err != nil {
		return report{}, err
	}
	defer src.Close()
	id := transfer.NewID()
	c, end, err := openChannelThrough(ctx, through, addr, transfer.ChannelName(id))
	if err != nil {
		return report{}, err
	}
	defer end()
	return spent(func() (int64, error) {
		res, err := transfer.Send(ctx, c, src, transfer.SendOptions{ID: id})
		return res.Size, err
	})
}
