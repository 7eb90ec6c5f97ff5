package turnclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/turnclient"
	"traverse.internal/internal/loopback"
	"traverse.internal/turn"
)

// startTurnd runs our own server on loopback for the length of the test.
func startTurnd(t *testing.T) (v4, v6 netip.AddrPort) {
	t.Helper()
	lo4, lo6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	loopback.NeedIPv6(t)
	port := loopback.FreePort(t)
	s, err := turn.New(turn.Config{
		ListenTCP: []netip.AddrPort{netip.AddrPortFrom(lo4, port), netip.AddrPortFrom(lo6, port)},
		ListenUDP: []netip.AddrPort{netip.AddrPortFrom(lo4, port), netip.AddrPortFrom(lo6, port)},
		Realm:     "r", Users: map[string]string{"u": "p"}, RelayIP4: lo4, RelayIP6: lo6,
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return netip.AddrPortFrom(lo4, port), netip.AddrPortFrom(lo6, port)
}

func TestTurnd(t *testing.T) {
	v4, v6 := startTurnd(t)
	relayBothWays(t, v4, v6)

	// What coturn 4.6 cannot do.
	t.Run("both directions at once, and half-closed", func(t *testing.T) {
		a, peer := relayed(t, v4, turnclient.IPv4)
		if err := a.Permit(t.Context(), peer); err != nil {
			t.Fatal(err)
		}
		theirs, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(a.Relayed()))
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ours, _, err := a.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		data := make([]byte, 4<<20)
		_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
		errs := make(chan error, 4)
		for _, way := range [][2]*net.TCPConn{{ours, theirs}, {theirs, ours}} {
			from, to := way[0], way[1]
			_ = from.SetDeadline(time.Now().Add(20 * time.Second))
			go func() {
				_, err := from.Write(data)
				errs <- errors.Join(err, from.CloseWrite())
			}()
			go func() {
				got, err := io.ReadAll(to)
				if err == nil && !bytes.Equal(got, data) {
					err = fmt.Errorf("got %d bytes, other than the %d that went in", len(got), len(data))
				}
				errs <- err
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("forbidden peers among permitted ones", func(t *testing.T) {
		a, peer := relayed(t, v4, turnclient.IPv4)
		mixed := []netip.Addr{netip.MustParseAddr("10.0.0.1"), peer, netip.MustParseAddr("169.254.169.254")}
		if err := a.Permit(t.Context(), mixed...); err != nil {
			t.Fatal(err)
		}
		if got := a.Permitted(); len(got) != 1 || got[0] != peer {
			t.Errorf("permitted %v, want %v", got, peer)
		}
	})
}
