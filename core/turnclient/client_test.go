package turnclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"traverse.internal/core/reason"
)

func TestDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().(*net.TCPAddr).AddrPort()
	_ = ln.Close()

	_, err = Dial(t.Context(), Config{Server: closed})
	as[*UnreachableError](t, err)
	if reason.Of(err) != reason.RelayUnreachable || !strings.Contains(err.Error(), closed.String()) {
		t.Errorf("closed port: %v, reason %q", err, reason.Of(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Dial(ctx, Config{Server: closed}); !errors.Is(err, context.Canceled) || reason.Of(err) != "" {
		t.Errorf("cancelled: %v, reason %q", err, reason.Of(err))
	}
	for name, cfg := range map[string]Config{
		"neither Server nor Host is set": {},
		"has no port":                    {Server: netip.AddrPortFrom(relayed4.Addr(), 0)},
		"Username of 509 bytes":          {Server: closed, Username: strings.Repeat("u", 509)},
	} {
		if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestTarget(t *testing.T) {
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{Server: netip.MustParseAddrPort("192.0.2.1:1")}, "192.0.2.1:1"},
		{Config{Server: netip.MustParseAddrPort("[::ffff:192.0.2.1]:1"), Host: "other"}, "192.0.2.1:1"},
		{Config{Host: "relay.example"}, "relay.example:3478"},
		{Config{Host: "relay.example:443"}, "relay.example:443"},
		{Config{Host: "[2001:db8::1]:443"}, "[2001:db8::1]:443"},
		{Config{Host: "2001:db8::1"}, "[2001:db8::1]:3478"},
	}
	for _, tt := range tests {
		if got := tt.cfg.target(); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.cfg, got, tt.want)
		}
	}
}

func TestDialByName(t *testing.T) {
	f := newFake(t)
	server := f.listen()
	c, err := Dial(t.Context(), Config{
		Host: fmt.Sprintf("localhost:%d", server.Port()), Username: fakeUser, Password: fakePassword,
		Local: netip.MustParseAddr("127.0.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Server() != server.String() {
		t.Errorf("server %s, want %s", c.Server(), server)
	}
}
