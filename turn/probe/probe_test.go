package probe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn"
	"traverse.internal/turn/probe"
)

var (
	loop4 = netip.MustParseAddr("127.0.0.1")
	loop6 = netip.MustParseAddr("::1")
	both  = []stun.Family{stun.FamilyIPv4, stun.FamilyIPv6}
)

// serve runs a server on loopback whose relayed addresses may be peers of each other.
func serve(t *testing.T, change func(*turn.Config)) *turn.Server {
	t.Helper()
	c := turn.Config{
		ListenUDP: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)},
		ListenTCP: []netip.AddrPort{netip.AddrPortFrom(loop4, 0)},
		Realm:     "test", Users: map[string]string{"u": "p"},
		RelayIP4: loop4, RelayIP6: loop6, OwnRelays: true,
	}
	if change != nil {
		change(&c)
	}
	s, err := turn.New(c)
	if err != nil {
		t.Skipf("no server on loopback: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func config(s *turn.Server, network string) probe.Config {
	c := probe.Config{Network: network, User: "u", Password: "p", Families: both, Timeout: 5 * time.Second}
	if network == "udp" {
		c.Server = s.UDPAddrs()[0]
	} else {
		c.Server = s.TCPAddrs()[0]
	}
	return c
}

func TestAllStepsWork(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			s := serve(t, nil)
			report, err := probe.Run(t.Context(), config(s, network))
			if err != nil {
				t.Fatalf("%v\n%+v", err, report.Steps)
			}
			want := 1 + 2*4 // bind; allocate, permit, channel and data for each family
			if network == "tcp" {
				want++ // connect
			}
			if len(report.Steps) != want {
				t.Errorf("%d steps, want %d: %+v", len(report.Steps), want, report.Steps)
			}
			for _, step := range report.Steps {
				if !step.OK {
					t.Errorf("step %+v", step)
				}
			}
			for _, count := range s.Stats().Allocations {
				if network == "udp" && count.Count != 0 {
					t.Errorf("%+v are left", count)
				}
			}
		})
	}
}

func TestWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		server func(*turn.Config)
		client func(*probe.Config)
		kind   probe.Kind
		step   string
		code   stun.ErrorCode
	}{
		{"wrong password", nil, func(c *probe.Config) { c.Password = "x" }, probe.Auth, "allocate ipv4", 401},
		{"unknown user", nil, func(c *probe.Config) { c.User = "x" }, probe.Auth, "allocate ipv4", 401},
		{"no peers", func(c *turn.Config) { c.OwnRelays = false }, nil, probe.Refused, "permit ipv4", 403},
		{"quota of one", func(c *turn.Config) { c.Limits.PerUser = 1 }, nil, probe.Refused, "permit ipv4", 486},
		{"no IPv4 is wanted alone", func(c *turn.Config) { c.RelayIP4 = netip.Addr{} }, func(c *probe.Config) { c.Families = both[:1] }, probe.Refused, "allocate ipv4", 440},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := config(serve(t, c.server), "tcp")
			if c.client != nil {
				c.client(&conf)
			}
			_, err := probe.Run(t.Context(), conf)
			var e *probe.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Step != c.step || e.Code != c.code {
				t.Errorf("got %+v, want kind %d, step %q, code %d", err, c.kind, c.step, c.code)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	silent, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loop4, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for network, at := range map[string]string{"udp": silent.LocalAddr().String(), "tcp": closed.Addr().String()} {
		_, err := probe.Run(t.Context(), probe.Config{
			Network: network, Server: netip.MustParseAddrPort(at), User: "u", Password: "p", Families: both, Timeout: 50 * time.Millisecond,
		})
		var e *probe.Error
		if !errors.As(err, &e) || e.Kind != probe.Unreachable || e.Step != "bind" {
			t.Errorf("%s: got %+v, want unreachable at bind", network, err)
		}
	}
}

// A family that is not there is a finding, as long as another is.
func TestOneFamily(t *testing.T) {
	s := serve(t, func(c *turn.Config) { c.RelayIP6 = netip.Addr{} })
	report, err := probe.Run(t.Context(), config(s, "udp"))
	if missing := report.Missing(); err != nil || len(missing) != 1 || missing[0] != "ipv6" {
		t.Errorf("missing %v, %v; want ipv6", missing, err)
	}
}

// Where relayed addresses may not be peers but this machine may, the data goes through a socket of ours.
func TestLocalPeer(t *testing.T) {
	s := serve(t, func(c *turn.Config) {
		c.OwnRelays = false
		c.RelayIP4 = netip.MustParseAddr("127.0.0.2")
		c.AllowPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	conf := config(s, "udp")
	conf.Families = both[:1]
	report, err := probe.Run(t.Context(), conf)
	if err != nil || len(report.Steps) != 5 || report.Steps[2].Detail != "relay to 127.0.0.1" {
		t.Errorf("%v, %+v", err, report.Steps)
	}
}
