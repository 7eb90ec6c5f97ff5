package connmgr

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/core/tls"
	"traverse.internal/internal/lossy"
)

// udpOnly is core/ice without TCP: no connection comes through, in either direction.
type udpOnly struct {
	ICE
	worse func(tls.Datagrams) tls.Datagrams // what the pair becomes; nil: as it is
}

func (f udpOnly) Gather(ctx context.Context) (PathAttempt, error) {
	at, err := f.ICE.Gather(ctx)
	if err != nil {
		return nil, err
	}
	return udpAttempt{at, f.worse}, nil
}

type udpAttempt struct {
	PathAttempt
	worse func(tls.Datagrams) tls.Datagrams
}

// Offer leaves out what leads to TCP connections.
func (a udpAttempt) Offer() []byte {
	o, err := ice.ParseBinary(a.PathAttempt.Offer())
	if err != nil {
		panic(err)
	}
	var keep []ice.Candidate
	for _, c := range o.Candidates {
		if !c.TCP {
			keep = append(keep, c)
		}
	}
	o.Candidates, o.Relays = keep, nil
	return o.AppendBinary(nil)
}

func (a udpAttempt) Negotiate(ctx context.Context, role ice.Role, remote []byte) (*Path, error) {
	p, err := a.PathAttempt.Negotiate(ctx, role, remote)
	if err == nil && a.worse != nil {
		p.Datagrams = a.worse(p.Datagrams)
	}
	return p, err
}

// newUDPWorld is a world of devices on addr between which TCP is filtered.
func newUDPWorld(t *testing.T, addr string, worse func(tls.Datagrams) tls.Datagrams) *world {
	w := newWorld(t)
	w.paths = func(t *testing.T, _ *memNode) Pathfinder {
		t.Helper()
		e, err := ice.Listen(ice.Config{Loopback: true, Addrs: []netip.Addr{netip.MustParseAddr(addr)}})
		if err != nil {
			t.Skipf("MISSING: %s: %v", addr, err)
		}
		t.Cleanup(func() { e.Close() })
		return udpOnly{ICE{Endpoint: e}, worse}
	}
	return w
}

// carryFile sends size random bytes over a new channel and compares digests.
func carryFile(t *testing.T, a, b *testDevice, size int64) Info {
	t.Helper()
	sums := make(chan [32]byte, 1)
	go func() {
		in, err := b.Accept(context.Background())
		if err != nil {
			return
		}
		ch, err := in.Accept()
		if err != nil {
			return
		}
		h := sha256.New()
		if _, err := io.Copy(h, ch); err != nil {
			t.Errorf("read: %v", err)
		}
		sums <- [32]byte(h.Sum(nil))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	ch, info, err := a.Connect(ctx, b.self, "file")
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	began := time.Now()
	if _, err := io.Copy(io.MultiWriter(h, channelWriter{ch}), io.LimitReader(rand.NewChaCha8([32]byte{9}), size)); err != nil {
		t.Fatal(err)
	}
	_ = ch.CloseWrite()
	if got := <-sums; got != [32]byte(h.Sum(nil)) {
		t.Fatal("the bytes differ")
	}
	t.Logf("%d bytes in %v, %+v", size, time.Since(began), info.Route)
	return info
}

type channelWriter struct{ c *mux.Channel }

func (w channelWriter) Write(p []byte) (int, error) { return w.c.Write(p) }

func TestSessionOverUDP(t *testing.T) {
	size := int64(100 << 20)
	if testing.Short() || raceEnabled {
		size = 16 << 20
	}
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			w := newUDPWorld(t, addr, nil)
			a, b := w.device(), w.device()
			info := carryFile(t, a, b, size)
			if info.Route.Via != "host/udp" || info.Route.Kind != ice.Direct || info.Route.Reason != reason.DirectLAN {
				t.Errorf("route %+v, want direct host/udp DIRECT_LAN", info.Route)
			}
			if n := a.Stats().Paths[PathKind{ice.Direct, "host/udp", reason.DirectLAN}]; n != 1 {
				t.Errorf("paths %v, want one of host/udp", a.Stats().Paths)
			}
		})
	}
}

// A path of 20 ms that loses one packet in a hundred carries all bytes.
func TestSessionOverBadUDP(t *testing.T) {
	w := newUDPWorld(t, "127.0.0.1", func(d tls.Datagrams) tls.Datagrams {
		return lossy.Over(d, lossy.Config{Delay: 10 * time.Millisecond, Loss: 0.01, Seed: 5})
	})
	size := int64(100 << 20)
	if testing.Short() || raceEnabled {
		size = 8 << 20
	}
	carryFile(t, w.device(), w.device(), size)
}

// When the pair dies the session lingers and goes on over the next.
func TestSessionOutlivesUDPPath(t *testing.T) {
	pairs := make(chan *cuttable, 8)
	w := newUDPWorld(t, "127.0.0.1", func(d tls.Datagrams) tls.Datagrams {
		c := &cuttable{Datagrams: d}
		pairs <- c
		return c
	})
	a, b := w.device(), w.device()
	b.echo(t)
	ch, info, err := a.Connect(testCtx(t), b.self, "echo")
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, ch, []byte("before"))
	_ = (<-pairs).Close()
	_ = (<-pairs).Close()
	roundTrip(t, ch, []byte("after"))
	_, again, err := a.Connect(testCtx(t), b.self, "echo")
	if err != nil || again.SessionID != info.SessionID {
		t.Errorf("session %x, %v; want the same one, %x", again.SessionID, err, info.SessionID)
	}
	if a.Stats().Resumed == 0 {
		t.Errorf("stats %+v, want a resumed session", a.Stats())
	}
}

type cuttable struct{ tls.Datagrams }
