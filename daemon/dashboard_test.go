package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/dashboard"
)

// TestDashboard: the status page of a node that knows nobody says so, and who it is.
func TestDashboard(t *testing.T) {
	h := newHome(t, "alone")
	cfg := Config{Home: h, Name: "alone", Dashboard: "0.0.0.0:0"}
	cfg.DHT.Private, cfg.DHT.Listen = true, netip.MustParseAddrPort("127.0.0.1:0")
	var e *cli.Error
	if _, err := New(cfg); !errors.As(err, &e) || e.Code != "E_CONFIG" {
		t.Fatalf("shown to the network: %v", err)
	}
	cfg.Dashboard = "127.0.0.1:0"
	d := serve(t, cfg)
	res, err := http.Get(d.Status().Dashboard + "view")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var v dashboard.View
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if !v.OK || v.Title != "alone" || len(v.Tables) != 4 || !slices.Contains(v.Facts, dashboard.Fact{Name: "Device", Value: d.self.String()}) {
		t.Errorf("the view is %+v", v)
	}
	for _, table := range v.Tables {
		if len(table.Rows) != 0 || table.Empty == "" || len(table.Columns) == 0 {
			t.Errorf("the table is %+v", table)
		}
	}
}
