package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// rsync is its daemon over TCP: nothing is encrypted and nobody proves who they are, so it stands aside.
type rsync struct {
	fileRun
	path string
}

func newRsync(f fileRun) (rsync, string) {
	path, err := exec.LookPath("rsync")
	if err != nil {
		return rsync{}, "rsync is not installed (apt-get install rsync)"
	}
	return rsync{f, path}, ""
}

func (s rsync) run(ctx context.Context) (sample, error) {
	out, _, err := s.copy(ctx)
	return out, err
}

// copy starts a daemon, copies to it, and stops it. It returns how long the copy took, too.
func (s rsync) copy(ctx context.Context) (sample, float64, error) {
	addr, err := freePort()
	if err != nil {
		return sample{}, 0, err
	}
	inbox := filepath.Join(s.dir, "rsynced")
	defer os.RemoveAll(inbox)
	config := filepath.Join(s.dir, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlock file = %s\n[in]\npath = %s\nread only = no\nuid = %d\ngid = %d\n", filepath.Join(s.dir, "rsyncd.lock"), inbox, os.Getuid(), os.Getgid())
	if err := os.MkdirAll(inbox, 0o755); err != nil {
		return sample{}, 0, err
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return sample{}, 0, err
	}
	server := exec.Command(s.path, "--daemon", "--no-detach", "--config", config, "--address", "127.0.0.1", "--port", fmt.Sprint(addr.Port()))
	p := &process{cmd: server, tail: new(tail), ended: make(chan struct{})}
	server.Stderr = p.tail
	if err := pinned(loadCPU, server.Start); err != nil {
		return sample{}, 0, err
	}
	go p.waitLoop()
	defer p.stop()
	if err := p.await(ctx, func() error { return dialable(addr) }); err != nil {
		return sample{}, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := exec.CommandContext(limited, s.path, "-rW", s.source, fmt.Sprintf("rsync://127.0.0.1:%d/in/", addr.Port()))
	talk := new(tail)
	client.Stderr = talk
	began := time.Now()
	if err := pinned(measuredCPU, client.Start); err != nil {
		return sample{}, 0, err
	}
	if err := client.Wait(); err != nil {
		return sample{}, 0, fmt.Errorf("rsync: %w: %s\ndaemon: %s", err, talk, p.tail)
	}
	wall := time.Since(began).Seconds()
	p.childless(3 * time.Second)
	p.stop()
	out, err := s.sample(filepath.Join(inbox, "source"), usage(client.ProcessState)+usage(server.ProcessState), wall)
	return out, wall, err
}
