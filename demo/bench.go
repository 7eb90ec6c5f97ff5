package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"traverse.internal/daemon"
)

// Bench measures two nodes in this process, over loopback and the whole line between them: path, TLS, mux, and a file that is verified and stored. dir is the parent of a temporary folder that
// takes twice the size; "" for the system's.
func Bench(ctx context.Context, dir string, size int64) (out daemon.BenchObject, err error) {
	dir, err = os.MkdirTemp(dir, "traverse-bench-")
	if err != nil {
		return out, fmt.Errorf("demo: no temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)
	l := newLab(dir, Options{})
	defer l.stop()
	if err := startDHT(ctx, l, new(Stage)); err != nil {
		return out, err
	}
	if err := l.benchDevices(); err != nil {
		return out, err
	}
	sender, receiver := l.devices["laptop"], l.devices["phone"]
	if out, err = sender.Bench(ctx, daemon.BenchRequest{Peer: "phone", Size: min(size, daemon.MaxBench)}); err != nil {
		return out, err
	}
	source, err := l.makeFile("source.bin", size)
	if err != nil {
		return out, err
	}
	clock := daemon.BenchClock()
	t, err := sender.Send("phone", source)
	if err != nil {
		return out, err
	}
	if t, err = sender.Await(ctx, t.ID, ended); err != nil {
		return out, err
	}
	rate := clock(size)
	if err := errorOf(t); err != nil {
		return out, err
	}
	got, err := received(ctx, receiver, t.ID)
	if err != nil {
		return out, err
	}
	out.File = &rate
	return out, equal(source, got.File)
}

// benchDevices starts a laptop, and a phone that lets itself be measured with.
func (l *lab) benchDevices() error {
	names := []string{"laptop", "phone"}
	ids := map[string]string{}
	for _, name := range names {
		made, err := daemon.Init(daemon.HomeAt(filepath.Join(l.dir, name)), name)
		if err != nil {
			return err
		}
		ids[name] = made.DeviceID
	}
	for i, name := range names {
		cfg := l.deviceConfig(name)
		cfg.Addrs = cfg.Addrs[:1]
		d, err := l.up(cfg)
		if err != nil {
			return err
		}
		other := names[1-i]
		if _, err := d.AddContact(other, ids[other]); err != nil {
			return err
		}
		if _, err := d.SetContact(other, map[string]string{"bench": "on"}); err != nil {
			return err
		}
	}
	return nil
}
