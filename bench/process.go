package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Which core does what, where there are two. On one core everything shares it.
const (
	loadCPU     = 1
	measuredCPU = 0
)

// A process is a child whose CPU time is measured while it runs.
type process struct {
	cmd   *exec.Cmd
	tail  *tail
	ended chan struct{} // closed when it has been waited for
	err   error         // why it ended; read after ended
}

// startProcessIn starts a child on the measured core, in a namespace; nil is this one. It is killed by stop.
func startProcessIn(ns *os.File, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), tail: new(tail), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.tail, p.tail
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := pinned(measuredCPU, func() error { return inside(ns, p.cmd.Start) }); err != nil {
		return nil, err
	}
	go p.waitLoop()
	return p, nil
}

func (p *process) waitLoop() {
	p.err = p.cmd.Wait()
	close(p.ended)
}

// stop ends the child and waits for it: politely first, so that one with children
// of its own has reaped them and their time is in its own.
func (p *process) stop() {
	p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(time.Second):
		p.cmd.Process.Signal(unix.SIGTERM) // the second time there is no waiting for clients
	}
	select {
	case <-p.ended:
	case <-time.After(2 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// childless waits until the child has no children any more, that is, has waited for
// them, or limit is over.
func (p *process) childless(limit time.Duration) {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for stop := time.Now().Add(limit); time.Now().Before(stop); <-tick.C {
		list, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil || len(bytes.TrimSpace(list)) == 0 {
			return
		}
	}
}

// cpu returns the CPU time of all threads of the child so far, in seconds: its
// CPU clock, which unlike /proc/PID/stat counts in nanoseconds.
func (p *process) cpu() (float64, error) {
	// clock_getcpuclockid(3): the process's id inverted, and CPUCLOCK_SCHED = 2.
	clock := ^int32(p.cmd.Process.Pid)<<3 | 2
	return clockSeconds(clock)
}

func clockSeconds(clock int32) (float64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("CPU clock: %w", err)
	}
	return float64(t.Nano()) / 1e9, nil
}

// softirqd is the CPU time of the kernel's threads that handle packets when there are too many, in seconds; 0 where they are
// not to be seen. Others' packets are in it.
func softirqd() float64 {
	total := 0.0
	for _, pid := range softirqPIDs() {
		s, _ := clockSeconds(^int32(pid)<<3 | 2)
		total += s
	}
	return total
}

// softirqPIDs are those threads. They live as long as the machine.
var softirqPIDs = sync.OnceValue(func() (list []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && bytes.HasPrefix(text, []byte("ksoftirqd/")) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
})

// rssAnon reads memory that a process has written and that is no file's, in bytes.
func rssAnon(status []byte) (int64, error) {
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no RssAnon")
}

// await calls ready until it succeeds, the child ends, or a time has passed that
// is enough for coturn (3 to 4 s).
func (p *process) await(ctx context.Context, ready func() error) error {
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.ended:
			return fmt.Errorf("%s ended: %v\n%s", p.cmd.Path, p.err, p.tail)
		case <-deadline.C:
			return fmt.Errorf("%s is not ready: %w\n%s", p.cmd.Path, err, p.tail)
		case <-tick.C:
		}
	}
}

// pinned calls start on a thread that may only run on one core, so that a child
// inherits that from its first instruction on.
func pinned(cpu int, start func() error) error {
	if runtime.NumCPU() < 2 {
		return start()
	}
	var only unix.CPUSet
	only.Set(cpu)
	return onCores(&only, start)
}

// everyCore is where this program might run before it pinned anything.
var everyCore = func() (all unix.CPUSet) {
	_ = unix.SchedGetaffinity(0, &all)
	return all
}()

// unpinned is the opposite of pinned, for programs that have the machine as their users have it.
func unpinned(start func() error) error { return onCores(&everyCore, start) }

// onCores calls start on a thread that may run on some cores, or where it may anyway when those may not be used.
func onCores(cores *unix.CPUSet, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was unix.CPUSet
	if unix.SchedGetaffinity(0, &was) == nil && unix.SchedSetaffinity(0, cores) == nil {
		defer unix.SchedSetaffinity(0, &was)
	}
	return start()
}

// pinSelf keeps this program's threads on the load's core. Those of the future
// inherit it.
func pinSelf() {
	if runtime.NumCPU() < 2 {
		return
	}
	var only unix.CPUSet
	only.Set(loadCPU)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			unix.SchedSetaffinity(id, &only) // a thread may have ended by now
		}
	}
}

// selfCPU is the CPU time of this process so far, in seconds.
func selfCPU() float64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// tail keeps the last 4 KiB a child wrote, for the error message.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 4096; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

// scratch makes a directory, in memory where there is room for size bytes there.
func scratch(size int64) (string, error) {
	const memory = "/dev/shm"
	var s unix.Statfs_t
	if unix.Statfs(memory, &s) == nil && int64(s.Bavail)*s.Bsize > size {
		if dir, err := os.MkdirTemp(memory, "traverse-bench-"); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", "traverse-bench-")
}

// writeNoise fills a new file with bytes that do not compress.
func writeNoise(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, noise(), size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// usage is the CPU time, in seconds, of an ended process and of those of its
// children that it waited for.
func usage(s *os.ProcessState) float64 { return (s.UserTime() + s.SystemTime()).Seconds() }
