package conformance_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"traverse.internal/conformance"
	"traverse.internal/internal/loopback"
	"traverse.internal/turn"
)

// serve starts our server on loopback in both families, and returns what the suite has to know of it.
func serve(t *testing.T, change func(*turn.Config)) conformance.Config {
	t.Helper()
	_, suite := start(t, change)
	return suite
}

// start is serve for who needs the server, too.
func start(t *testing.T, change func(*turn.Config)) (*turn.Server, conformance.Config) {
	t.Helper()
	ips := []netip.Addr{loopback.IP4}
	if loopback.HaveIPv6() {
		ips = append(ips, loopback.IP6)
	}
	config := turn.Config{
		Realm: "traverse", Users: map[string]string{"anna": "secret", "bert": "other secret"},
		AllowPeers:     []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		StrictChannels: true,
	}
	suite := conformance.Config{User: "anna", Password: "secret", OtherUser: "bert", OtherPassword: "other secret"}
	for _, ip := range ips {
		at := netip.AddrPortFrom(ip, loopback.FreePort(t))
		config.ListenUDP, config.ListenTCP = append(config.ListenUDP, at), append(config.ListenTCP, at)
		suite.Servers = append(suite.Servers, at)
		if ip.Is4() {
			config.RelayIP4 = ip
		} else {
			config.RelayIP6 = ip
		}
	}
	if change != nil {
		change(&config)
	}
	s, err := turn.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, suite
}

// run asks, within the time that a run may take.
func run(t *testing.T, config conformance.Config) conformance.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	report, err := conformance.Run(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pass, %d fail %v, %d skipped %v, in %v", report.Passed, report.Failed, report.Numbers(conformance.Fail),
		report.Skipped, report.Numbers(conformance.Skip), time.Since(begin).Round(time.Millisecond))
	return report
}

// knownGaps are the behaviours that our server does not show, or not where the suite can see it, and why. One that is
// shown has to leave this table.
var knownGaps = map[int]string{
	19:  "TestOurServerAsConfigured: needs to know the nonces' lifetime",
	20:  "TestOurServerAsConfigured: needs to know the nonces' lifetime",
	25:  "TestOurServerAsConfigured: needs such a user",
	26:  "TestOurServerAsConfigured: needs such a user",
	40:  "TestOurServerAsConfigured: needs a server that forbids UDP relays",
	50:  "TestOurServerAsConfigured: needs a server without ports",
	53:  "TestOurServerAsConfigured: needs to know the quota",
	54:  "TestOurServerAsConfigured: needs to know the capacity",
	55:  "TestOurServerAsConfigured: needs a server that drains",
	64:  "takes 10 minutes",
	65:  "takes 10 minutes",
	71:  "takes 5 minutes",
	87:  "takes 11 minutes",
	88:  "takes 10 minutes",
	89:  "takes 5 minutes",
	110: "takes 35 seconds",
	101: "TestOurServerOverTLS",
	118: "TestOurServerAsConfigured: needs a server with mobility",
	119: "TestOurServerOverDTLS",
}

// elsewhere are the tests of what cannot be seen on the wire: file and name.
var elsewhere = map[int][2]string{
	59:  {"../turn/leak_test.go", "TestFailedAllocateLeavesNothing"},
	120: {"../core/turnclient/request_test.go", "TestRedirectionIsToldNotFollowed"},
}

func TestOurServer(t *testing.T) {
	t.Parallel()
	report := run(t, serve(t, nil))
	for _, r := range report.Results {
		why, known := knownGaps[r.Number]
		test, unseen := elsewhere[r.Number]
		switch {
		case unseen:
			file, err := os.ReadFile(test[0])
			if r.Status != conformance.Unseen || err != nil || !strings.Contains(string(file), "\nfunc "+test[1]+"(") {
				t.Errorf("%d %s: want it unseen, and tested by %s in %s (%v)", r.Number, r.Status, test[1], test[0], err)
			}
		case r.Number == 41 && os.Geteuid() == 0 && !strings.Contains(r.Detail, "with DF"):
			t.Errorf("41: %s, want DF seen", r.Detail)
		case r.Status == conformance.Pass && known:
			t.Errorf("%d passes: remove it from knownGaps (%s)", r.Number, why)
		case r.Status == conformance.Pass:
		case !known:
			t.Errorf("%d %s: %s\n\t%s", r.Number, r.Status, r.Must, r.Detail)
		}
	}
	page, err := os.ReadFile("../docs/protocol/turn.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if row := fmt.Sprintf("\n| %d | %s | %s | ", r.Number, r.Must, r.Ref); !strings.Contains(string(page), row) {
			t.Errorf("docs/protocol/turn.md has no row%s", row)
		}
	}
	if len(report.Results) != 121 {
		t.Errorf("%d behaviours, want 121", len(report.Results))
	}
}

// As it comes, our server deviates in one thing, and the suite says which: channel numbers of RFC 5766.
func TestOurServerByDefault(t *testing.T) {
	t.Parallel()
	report := run(t, serve(t, func(c *turn.Config) { c.StrictChannels = false }))
	if got := report.Numbers(conformance.Fail); !slices.Equal(got, []int{83}) {
		_ = report.WriteText(t.Output())
		t.Errorf("fails %v, want 83 alone", got)
	}
	for _, r := range report.Results {
		if r.Number == 83 && !strings.Contains(r.Detail, "got it bound as of RFC 5766") {
			t.Errorf("83: %s", r.Detail)
		}
	}
}

// Over TLS everything that is no matter of UDP.
func TestOurServerOverTLS(t *testing.T) {
	t.Parallel()
	at := netip.AddrPortFrom(loopback.IP4, loopback.FreePort(t))
	var roots *x509.CertPool
	config := serve(t, func(c *turn.Config) {
		c.ListenTLS = []netip.AddrPort{at}
		c.CertFile, c.KeyFile, roots = loopback.Certificate(t)
	})
	config.Servers, config.Secure, config.Roots = []netip.AddrPort{at}, true, roots
	report := run(t, config)
	ofUDP := 0
	for _, r := range report.Results {
		_, known := knownGaps[r.Number]
		switch {
		case r.Status == conformance.Skip && strings.HasPrefix(r.Detail, "a matter of UDP"):
			ofUDP++
		case r.Number == 101 && r.Status != conformance.Pass, r.Status == conformance.Fail, r.Status == conformance.Skip && !known && r.Number != 121:
			t.Errorf("%d %s: %s\n\t%s", r.Number, r.Status, r.Must, r.Detail)
		}
	}
	if ofUDP == 0 || report.Passed < 80 {
		t.Errorf("%d pass, %d are a matter of UDP", report.Passed, ofUDP)
	}
}

// Over DTLS everything that is no matter of streams, and of datagrams as they are on the wire.
func TestOurServerOverDTLS(t *testing.T) {
	t.Parallel()
	at := netip.AddrPortFrom(loopback.IP4, loopback.FreePort(t))
	var roots *x509.CertPool
	config := serve(t, func(c *turn.Config) {
		c.ListenDTLS = []netip.AddrPort{at}
		c.CertFile, c.KeyFile, roots = loopback.Certificate(t)
	})
	config.Servers, config.Datagrams, config.Roots = []netip.AddrPort{at}, true, roots
	report := run(t, config)
	for _, r := range report.Results {
		_, known := knownGaps[r.Number]
		switch {
		case r.Status == conformance.Skip && strings.HasPrefix(r.Detail, "a matter of"):
		case r.Number == 119 && r.Status != conformance.Pass, r.Status == conformance.Fail, r.Status == conformance.Skip && !known && r.Number != 121:
			t.Errorf("%d %s: %s\n\t%s", r.Number, r.Status, r.Must, r.Detail)
		}
	}
	if report.Passed < 70 {
		t.Errorf("%d pass", report.Passed)
	}
}

// What the suite has to be told to see it.
func TestOurServerAsConfigured(t *testing.T) {
	t.Parallel()
	know := func(tell func(*conformance.Config)) func(*turn.Server, *conformance.Config) {
		return func(_ *turn.Server, c *conformance.Config) { tell(c) }
	}
	for _, c := range []struct {
		name   string
		server func(*turn.Config)
		then   func(*turn.Server, *conformance.Config)
		only   []int
	}{
		{
			"quota",
			func(c *turn.Config) { c.Limits.PerUser = 20 },
			know(func(c *conformance.Config) { c.Quota = 20 }),
			[]int{53},
		},
		{
			"capacity",
			func(c *turn.Config) { c.Limits.Allocations = 20 },
			know(func(c *conformance.Config) { c.Capacity = 20 }),
			[]int{54},
		},
		{
			"nonces of four seconds",
			func(c *turn.Config) { c.NonceLifetime = 4 * time.Second },
			know(func(c *conformance.Config) { c.NonceLifetime = 4 * time.Second }),
			[]int{19, 20},
		},
		{
			"a password that is not ASCII",
			func(c *turn.Config) { c.Users["マトリックス"] = "The MªtrⅨ" },
			know(func(c *conformance.Config) { c.User, c.Password = "マトリックス", "The MªtrⅨ" }),
			[]int{26},
		},
		{
			"a time-limited credential",
			func(c *turn.Config) { c.Secrets = []string{"a shared secret"} },
			know(func(c *conformance.Config) {
				c.User, c.Password = turn.Mint("a shared secret", "anna", time.Now().Add(time.Hour))
			}),
			[]int{25},
		},
		{
			"a single port",
			func(c *turn.Config) { c.PortMin, c.PortMax = 65535, 65535 },
			know(func(c *conformance.Config) { c.Parallel = 1 }),
			[]int{50},
		},
		{
			"no UDP relays",
			func(c *turn.Config) { c.NoUDPRelays = true },
			know(func(*conformance.Config) {}),
			[]int{40},
		},
		{
			"mobility",
			func(c *turn.Config) { c.Mobility = true },
			know(func(*conformance.Config) {}),
			[]int{117, 118},
		},
		{
			"a redirection",
			func(c *turn.Config) {
				c.Alternates = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:3478"), netip.MustParseAddrPort("[2001:db8::7]:3478")}
			},
			func(s *turn.Server, _ *conformance.Config) { s.Drain() },
			[]int{55},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, config := start(t, c.server)
			config.Servers = config.Servers[:1]
			config.Only = c.only
			c.then(server, &config)
			if report := run(t, config); !slices.Equal(report.Numbers(conformance.Pass), c.only) {
				_ = report.WriteText(t.Output())
				t.Errorf("pass: got %v, want %v", report.Numbers(conformance.Pass), c.only)
			}
		})
	}
}

// A server that permits none of the suite's peers, as ours does unless it is told: nothing fails, and what needs them says so.
func TestOurServerForbidsPeers(t *testing.T) {
	t.Parallel()
	report := run(t, serve(t, func(c *turn.Config) { c.AllowPeers, c.OwnRelays = nil, true }))
	skipped := 0
	for _, r := range report.Results {
		if r.Status == conformance.Skip && strings.Contains(r.Detail, "allow them there") {
			skipped++
		}
	}
	if report.Failed > 0 || skipped < 30 || report.Passed < 40 {
		_ = report.WriteText(t.Output())
		t.Errorf("%d fail, %d pass, %d skipped for want of peers", report.Failed, report.Passed, skipped)
	}
}
