package ice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	lo4 = netip.MustParseAddr("127.0.0.1")
	lo6 = netip.MustParseAddr("::1")
)

// listenTest opens an endpoint on loopback and closes it with the test.
func listenTest(t testing.TB, cfg Config) *Endpoint {
	t.Helper()
	cfg.Loopback = true
	if cfg.Addrs == nil {
		cfg.Addrs = []netip.Addr{lo4}
	}
	e, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func needIPv6(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("needs IPv6 on loopback: %v", err)
	}
	ln.Close()
}

// both is what the two sides of a negotiation got.
type both struct {
	offerer, answerer       *Path
	offererErr, answererErr error
}

func (b *both) close() {
	for _, p := range []*Path{b.offerer, b.answerer} {
		if p != nil {
			p.Close()
		}
	}
}

// connect runs a whole negotiation between two endpoints, with the offers in their binary form.
func connect(ctx context.Context, caller, callee *Endpoint) both {
	return connectVia(ctx, caller, callee, func(o Offer) Offer { return o })
}

// connectVia is connect with a change to the offers on their way.
func connectVia(ctx context.Context, caller, callee *Endpoint, change func(Offer) Offer) (b both) {
	at, err := caller.Gather(ctx)
	if err != nil {
		return both{offererErr: err}
	}
	defer at.Close()
	offer, err := ParseBinary(change(at.Offer()).AppendBinary(nil))
	if err != nil {
		return both{answererErr: err}
	}
	called, err := callee.Gather(ctx)
	if err != nil {
		return both{answererErr: err}
	}
	defer called.Close()
	if err := called.Permit(ctx, offer); err != nil {
		return both{answererErr: err}
	}
	answer, err := ParseBinary(change(called.Offer()).AppendBinary(nil))
	if err != nil {
		return both{offererErr: err}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b.answerer, b.answererErr = called.Negotiate(ctx, Answerer, offer)
		if b.answererErr == nil {
			// What TLS does first: the offerer learns of the choice by it.
			_, b.answererErr = b.answerer.Conn.Write(hello)
		}
	})
	b.offerer, b.offererErr = at.Negotiate(ctx, Offerer, answer)
	wg.Wait()
	return b
}

// hello begins like a TLS record.
var hello = []byte{0x16, 3, 1, 0, 42}

// mustConnect is connect for paths that have to come about; they are closed with the test.
func mustConnect(t testing.TB, caller, callee *Endpoint) both {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b := connect(ctx, caller, callee)
	t.Cleanup(b.close)
	if err := errors.Join(b.offererErr, b.answererErr); err != nil {
		t.Fatalf("no path: %v", err)
	}
	return b
}

// talk proves that the path carries exactly what is written: the answerer's hello, then random bytes both ways.
func talk(t testing.TB, b both, n int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	b.offerer.Conn.SetDeadline(deadline)
	b.answerer.Conn.SetDeadline(deadline)
	r := io.MultiReader(bytes.NewReader(b.offerer.Head), b.offerer.Conn)
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, hello) {
		t.Fatalf("offerer read %x (%v), want the answerer's first bytes %x", got, err, hello)
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	data[0] = 0x17 // a TLS record, for those who record
	var wg sync.WaitGroup
	wg.Go(func() { // the answerer echoes
		if _, err := io.CopyN(b.answerer.Conn, b.answerer.Conn, int64(n)); err != nil {
			t.Errorf("answerer echo: %v", err)
		}
	})
	wg.Go(func() {
		if _, err := b.offerer.Conn.Write(data); err != nil {
			t.Errorf("offerer write: %v", err)
		}
	})
	echo := make([]byte, n)
	if _, err := io.ReadFull(r, echo); err != nil {
		t.Errorf("offerer read: %v", err)
	}
	wg.Wait()
	if !bytes.Equal(echo, data) {
		t.Error("the echo differs from what was sent")
	}
}

// noGoroutines fails the test if goroutines of this package or of the agent are left when it ends. Call it first: cleanups
// run in reverse order.
func noGoroutines(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		// The agent's own goroutines end by themselves soon after its Close.
		eventually(t, "goroutines to end", func() bool {
			left = goroutines()
			return left == ""
		}, func() string { return left })
	})
}

// goroutines returns the stacks of goroutines that run code of ours or of the agent, those of the tests themselves excepted.
func goroutines() string {
	buf := make([]byte, 1<<20)
	stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	ours := slices.DeleteFunc(stacks[1:], func(s string) bool {
		return !strings.Contains(s, "core/ice.") && !strings.Contains(s, "core/turnclient") && !strings.Contains(s, "pion/ice") || strings.Contains(s, "core/ice.Test") || strings.Contains(s, "core/ice.startTurnd")
	})
	return strings.Join(ours, "\n\n")
}

// eventually waits for a condition that nothing announces.
func eventually(t testing.TB, what string, ok func() bool, detail func() string) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 10 s for %s\n%s", what, detail())
		}
	}
}
