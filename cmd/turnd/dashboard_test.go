package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"traverse.internal/internal/dashboard"
)

// TestDashboard: the page shows the session that somebody has, and no relay reaches the page.
func TestDashboard(t *testing.T) {
	r := start(t, onLoopback(t, "--turnd-dashboard", "127.0.0.1:0")...)
	look := func() (v dashboard.View) {
		t.Helper()
		res, err := http.Get(r.ready.Dashboard + "view")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := look(); !v.OK || !strings.HasPrefix(v.State, "serving") || len(v.Tables) != 1 || len(v.Tables[0].Rows) != 0 {
		t.Errorf("with nobody there: %+v", v)
	}
	a := hold(t, r, "127.0.0.5")
	v := look()
	if rows := v.Tables[0].Rows; len(rows) != 1 || rows[0][0] != "u" || rows[0][3] != "tcp "+a.Relayed().String() {
		t.Errorf("the sessions are %q", rows)
	}
	if !slices.Contains(v.Facts, dashboard.Fact{Name: "Allocations", Value: "1, of them 1 for TCP"}) {
		t.Errorf("the facts are %q", v.Facts)
	}
	at := strings.TrimSuffix(strings.TrimPrefix(r.ready.Dashboard, "http://"), "/")
	if err := connect(t, r, netip.MustParseAddrPort(at)); err == nil {
		t.Error("a relay reaches the dashboard")
	}
}

func TestDashboardStaysHere(t *testing.T) {
	var errOut strings.Builder
	code := run(t.Context(), append([]string{"run"}, onLoopback(t, "--turnd-dashboard", "0.0.0.0:0")...), nil, &strings.Builder{}, &errOut)
	if code != 3 || !strings.Contains(errOut.String(), "ssh -L") {
		t.Errorf("exit code %d:\n%s", code, errOut.String())
	}
}
