package ice

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"traverse.internal/core/reason"
)

// TestNear has which peers count as on our LAN.
func TestNear(t *testing.T) {
	for _, c := range []struct {
		addr string
		want bool
	}{
		{"127.0.0.1", true},
		{"::1", true},
		{"10.0.0.1", true},
		{"192.168.1.1", true},
		{"fd00::9", true},
		{"fe80::1", true},
		{"203.0.113.9", false},
		{"2001:db8::9", false},
		{"100.64.0.1", false},
	} {
		if got := near(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("near(%s) is %v, want %v", c.addr, got, c.want)
		}
	}
}

// TestNoPathError has what a person reads who asks why.
func TestNoPathError(t *testing.T) {
	err := &NoPathError{
		Code: reason.NoPath,
		Tries: []Try{
			{Addr: ap("10.0.0.1:7"), Dials: 3, State: "no connection", Err: fmt.Errorf("connection refused")},
			{Addr: ap("[2001:db8::1]:9"), Relayed: true, State: "not tried"},
		},
		Err: errBroke,
	}
	const want = "ice: no path: the chosen connection broke: direct 10.0.0.1:7: no connection (connection refused); " +
		"relayed [2001:db8::1]:9: not tried"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if reason.Of(fmt.Errorf("connect: %w", err)) != reason.NoPath {
		t.Error("the reason is lost on the way")
	}
}

func TestParsePolicy(t *testing.T) {
	for _, p := range []Policy{Auto, DirectOnly, RelayOnly} {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("%v: got %v, %v", p, got, err)
		}
	}
	if got, err := ParsePolicy(""); got != Auto || err != nil {
		t.Errorf("empty: got %v, %v; want auto", got, err)
	}
	if _, err := ParsePolicy("relayed"); err == nil || !strings.Contains(err.Error(), "relay-only") {
		t.Errorf("got %v, want an error that lists the policies", err)
	}
}
