package turnclient_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"traverse.internal/core/reason"
	"traverse.internal/core/stun"
	"traverse.internal/core/turnclient"
	"traverse.internal/internal/loopback"
)

// relayed is one allocation at a real server, and the address that its peers come from.
func relayed(t *testing.T, server netip.AddrPort, family turnclient.Family) (*turnclient.Allocation, netip.Addr) {
	t.Helper()
	c, err := turnclient.Dial(t.Context(), turnclient.Config{Server: server, Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	a, err := c.Allocate(t.Context(), family)
	if err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddr("127.0.0.1")
	if family == turnclient.IPv6 {
		peer = netip.IPv6Loopback()
	}
	return a, peer
}

// exchange sends half a megabyte one way and then the other, and compares. Not both at once, and nothing half-closed:
// coturn 4.6 stops reading in the first case and resets both directions in the second.
func exchange(t *testing.T, a, b *net.TCPConn) {
	t.Helper()
	data := make([]byte, 512<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	deadline := time.Now().Add(10 * time.Second)
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		_ = from.SetWriteDeadline(deadline)
		_ = to.SetReadDeadline(deadline)
		sent := make(chan error, 1)
		go func() {
			_, err := from.Write(data)
			sent <- err
		}()
		got := make([]byte, len(data))
		n, err := io.ReadFull(to, got)
		if err := errors.Join(err, <-sent); err != nil {
			t.Errorf("after %d of %d bytes: %v", n, len(data), err)
		} else if !bytes.Equal(got, data) {
			t.Error("other bytes came out than went in")
		}
	}
}

// relayBothWays runs every way through a relay that listens on two loopback addresses and knows the user u with password p.
func relayBothWays(t *testing.T, v4, v6 netip.AddrPort) {
	tests := []struct {
		name   string
		server netip.AddrPort
		family turnclient.Family
	}{
		{"IPv4 over IPv4", v4, turnclient.IPv4},
		{"IPv6 over IPv6", v6, turnclient.IPv6},
		{"IPv6 over IPv4", v4, turnclient.IPv6},
		{"IPv4 over IPv6", v6, turnclient.IPv4},
	}
	for _, tt := range tests {
		t.Run(tt.name+", peer dials", func(t *testing.T) {
			a, peer := relayed(t, tt.server, tt.family)
			if err := a.Permit(t.Context(), peer); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				theirs, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(a.Relayed()))
				if err != nil {
					t.Fatal(err)
				}
				ours, from, err := a.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if want := theirs.LocalAddr().(*net.TCPAddr).AddrPort(); from != want {
					t.Errorf("peer %v, want %v", from, want)
				}
				exchange(t, ours, theirs)
				_, _ = ours.Close(), theirs.Close()
			}
		})
		t.Run(tt.name+", relay dials", func(t *testing.T) {
			a, peer := relayed(t, tt.server, tt.family)
			ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(peer, 0)))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			ours, err := a.Connect(t.Context(), ln.Addr().(*net.TCPAddr).AddrPort())
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			theirs, err := ln.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			if got := theirs.RemoteAddr().(*net.TCPAddr).AddrPort(); got != a.Relayed() {
				t.Errorf("the relay came from %v, want %v", got, a.Relayed())
			}
			exchange(t, ours, theirs)
		})
	}
	t.Run("peer speaks first", func(t *testing.T) {
		a, peer := relayed(t, v4, turnclient.IPv4)
		if err := a.Permit(t.Context(), peer); err != nil {
			t.Fatal(err)
		}
		theirs, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(a.Relayed()))
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		if _, err := theirs.Write([]byte("first")); err != nil {
			t.Fatal(err)
		}
		ours, _, err := a.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		got := make([]byte, 5)
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != "first" {
			t.Errorf("read %q, %v", got, err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		c, err := turnclient.Dial(t.Context(), turnclient.Config{Server: v4, Username: "u", Password: "wrong"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Allocate(t.Context(), turnclient.IPv4)
		var e *turnclient.Error
		if !errors.As(err, &e) || e.Code != stun.CodeUnauthenticated || reason.Of(err) != reason.RelayAuth {
			t.Errorf("got %v, reason %q", err, reason.Of(err))
		}
	})
	t.Run("closed peer port", func(t *testing.T) {
		a, peer := relayed(t, v4, turnclient.IPv4)
		_, err := a.Connect(t.Context(), netip.AddrPortFrom(peer, loopback.FreePort(t)))
		var e *turnclient.Error
		if !errors.As(err, &e) || e.Code != stun.CodeConnectionFailed {
			t.Errorf("got %v, want %v", err, stun.CodeConnectionFailed)
		}
	})
	t.Run("close gives the port back", func(t *testing.T) {
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
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		// The relay ends its data connections with the allocation.
		for _, conn := range []*net.TCPConn{ours, theirs} {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read %d bytes, %v, want an end", n, err)
			}
		}
	})
}
