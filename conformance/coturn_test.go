package conformance_test

import (
	"net/netip"
	"slices"
	"testing"

	"traverse.internal/conformance"
	"traverse.internal/internal/loopback"
)

// coturnDeviates are the behaviours that coturn 4.6.1 does not show. A suite that does not find them is blind.
var coturnDeviates = []int{
	1, 2, 5, 6, 7, 10, 15, 24, 30, 31, 33, 35, 39, 42, 43, 44, 47, 49, 51, 52, 61, 66, 69, 80, 81, 83, 93, 98, 99, 104, 111, 112, 113, 115,
}

func TestCoturn(t *testing.T) {
	t.Parallel()
	port := loopback.Coturn{
		IPs: []netip.Addr{loopback.IP4}, Users: []string{"anna:secret", "bert:other secret"}, Realm: "traverse",
	}.Start(t)
	config := conformance.Config{
		Servers: []netip.AddrPort{netip.AddrPortFrom(loopback.IP4, port)},
		User:    "anna", Password: "secret", OtherUser: "bert", OtherPassword: "other secret",
	}
	report := run(t, config)
	got := report.Numbers(conformance.Fail)
	// coturn keeps an allocation for some time after its end. A check whose port was another's before may meet that one, so
	// what fails beyond the list has to fail again.
	for _, n := range got {
		if !slices.Contains(coturnDeviates, n) {
			config.Only = append(config.Only, n)
		}
	}
	if len(config.Only) > 0 {
		again := run(t, config).Numbers(conformance.Fail)
		got = slices.DeleteFunc(got, func(n int) bool { return slices.Contains(config.Only, n) && !slices.Contains(again, n) })
	}
	if !slices.Equal(got, coturnDeviates) {
		_ = report.WriteText(t.Output())
		t.Errorf("coturn 4.6.1 deviates in %v, want %v", got, coturnDeviates)
	}
}
