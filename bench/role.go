package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Where both ends are ours, each is a child of its own: this program again, with a
// role. The receiver prints its address, then both do their part and print a
// report. What they spend is counted from the handshake's end on.

// roleArg is the first argument of a child; then come the kind, the role, and the
// role's arguments.
const roleArg = "-role"

// A report is what a child says at its end.
type report struct {
	Bytes int64   `json:"bytes"`
	CPU   float64 `json:"cpu"`  // seconds
	Wall  float64 `json:"wall"` // seconds

	Millis []float64 `json:"millis,omitempty"` // of what was timed
	Memory int64     `json:"memory,omitempty"` // bytes of its own
	Writes uint64    `json:"writes,omitempty"` // to the link

	process float64 // CPU seconds of the child from its start to its end
}

// A kind is one way to move bytes between two children.
type kind interface {
	// receive listens, says where, takes what one sender sends, and reports.
	receive(ctx context.Context, args []string, say func(addr string)) (report, error)
	// send dials addr, sends, and reports when all of it has arrived.
	send(ctx context.Context, addr string, args []string) (report, error)
}

var kinds = map[string]kind{
	"mux":               muxKind{},
	"yamux":             yamuxMux,
	"yamux on our link": yamuxOnLink{},
	"mux ping":          muxPingKind{},
	"yamux ping":        otherPing{yamuxMux},
	"smux":              smuxMux,
	"smux ping":         otherPing{smuxMux},
	"slow":              slowKind{},
	"warm":              warmKind{},
	"transfer":          transferKind{},
	"floor":             floorKind{},
}

func runRole(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == pionRole {
		return runPion(ctx, args[1:], stderr)
	}
	if len(args) < 2 || kinds[args[0]] == nil {
		fmt.Fprintln(stderr, "bench: bad role")
		return 2
	}
	k := kinds[args[0]]
	var r report
	var err error
	switch role, rest := args[1], args[2:]; {
	case role == "receive":
		r, err = k.receive(ctx, rest, func(addr string) { fmt.Fprintln(stdout, addr) })
	case role == "send" && len(rest) > 0:
		r, err = k.send(ctx, rest[0], rest[1:])
	default:
		err = errors.New("bad role")
	}
	if err == nil {
		err = json.NewEncoder(stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %s %s: %v\n", args[0], args[1], err)
		return 1
	}
	return 0
}

// spent measures one role's work.
func spent(work func() (int64, error)) (report, error) {
	began, cpu := time.Now(), selfCPU()
	n, err := work()
	return report{Bytes: n, CPU: selfCPU() - cpu, Wall: time.Since(began).Seconds()}, err
}

// A child is one role of a pair.
type child struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	errors *tail
}

func startChild(ctx context.Context, h *host, cpu int, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, append([]string{roleArg}, args...)...), errors: new(tail)}
	c.cmd.Stderr = c.errors
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if h == nil {
		return c, pinned(cpu, c.cmd.Start)
	}
	c.cmd.Env = append(os.Environ(), listenEnv+"="+h.relay[v4].String())
	return c, pinned(cpu, func() error { return inside(h.ns, c.cmd.Start) })
}

// end waits for the child and reads its report.
func (c *child) end() (report, error) {
	var r report
	text, err := io.ReadAll(c.out)
	if werr := c.cmd.Wait(); werr != nil {
		return r, fmt.Errorf("%v: %s", werr, c.errors)
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	r.process = usage(c.cmd.ProcessState)
	return r, err
}

// runPair runs both roles of a kind, sender and receiver on different cores, and
// returns their reports.
func runPair(ctx context.Context, kind string, limit time.Duration, receiverArgs, senderArgs []string) (sent, received report, err error) {
	return runPairTo(ctx, nil, kind, limit, receiverArgs, senderArgs)
}

// listenEnv says where a receiver listens.
const listenEnv = "TRAVERSE_BENCH_LISTEN"

// listenAddr is the address where a receiver listens: loopback, unless it is on another machine.
func listenAddr() string { return net.JoinHostPort(cmp.Or(os.Getenv(listenEnv), "127.0.0.1"), "0") }

// runPairTo has the receiver on another machine; nil: on this one, over loopback.
func runPairTo(ctx context.Context, h *host, kind string, limit time.Duration, receiverArgs, senderArgs []string) (sent, received report, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	receiver, err := startChild(ctx, h, loadCPU, append([]string{kind, "receive"}, receiverArgs...)...)
	if err != nil {
		return sent, received, err
	}
	addr, err := receiver.out.ReadString('\n')
	if err != nil {
		cancel()
		_, end := receiver.end()
		return sent, received, errors.Join(err, end)
	}
	sender, err := startChild(ctx, nil, measuredCPU, append([]string{kind, "send", strings.TrimSpace(addr)}, senderArgs...)...)
	if err != nil {
		cancel()
		_, end := receiver.end()
		return sent, received, errors.Join(err, end)
	}
	sent, err = sender.end()
	if err != nil {
		cancel()
	}
	received, rerr := receiver.end()
	return sent, received, errors.Join(err, rerr)
}
