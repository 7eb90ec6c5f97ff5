package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/dashboard"
	"traverse.internal/turn"
)

// openDashboard opens the status page, where one is wanted; else nil. The server is asked for with each look.
func openDashboard(conf config.Config, began time.Time, server func() *turn.Server) (*dashboard.Server, error) {
	if conf.Turnd.Dashboard == "" {
		return nil, nil
	}
	s, err := dashboard.Listen(conf.Turnd.Dashboard, func() dashboard.View { return view(conf, began, server()) })
	if errors.Is(err, dashboard.ErrNotLoopback) {
		return nil, cli.Errorf("E_CONFIG", "the dashboard cannot listen on %s", conf.Turnd.Dashboard).Because(err).
			Hint("127.0.0.1:7879, and from another machine: ssh -L 7879:127.0.0.1:7879 HOST")
	}
	if err != nil {
		return nil, explainListen(err, "--turnd-dashboard")
	}
	return s, nil
}

// boardAddrs is where the page is, which no relay may reach.
func boardAddrs(board *dashboard.Server) []netip.AddrPort {
	if board == nil {
		return nil
	}
	at, err := netip.ParseAddrPort(board.Addr().String())
	if err != nil {
		return nil
	}
	return []netip.AddrPort{at}
}

// view is what the status page shows: what `top` and `sessions ls` print, and the metrics that matter.
func view(conf config.Config, began time.Time, server *turn.Server) dashboard.View {
	v := dashboard.View{Program: "turnd", Title: conf.Turnd.Realm, State: "starting", Alerts: []string{}}
	if server == nil {
		return v
	}
	st := server.Stats()
	v.State, v.OK = "serving since "+began.Format(time.DateTime), true
	if st.Draining {
		v.State, v.OK = "draining: no new session is let in", false
	}
	if end := st.CertExpires; !end.IsZero() && time.Until(end) < 14*24*time.Hour {
		v.Alerts = append(v.Alerts, "the certificate ends on "+end.Format(time.DateTime))
	}
	allocations := 0
	for _, a := range st.Allocations {
		allocations += a.Count
	}
	var up, down uint64
	modes := make(map[string]uint64)
	for _, r := range st.Relayed {
		modes[r.Mode] += r.Bytes
		if r.Dir == "up" {
			up += r.Bytes
		} else {
			down += r.Bytes
		}
	}
	v.Rates = []dashboard.Rate{{Name: "to peers", Bytes: up}, {Name: "to clients", Bytes: down}}
	v.Facts = []dashboard.Fact{
		{Name: "Allocations", Value: fmt.Sprintf("%d, of them %d for TCP", allocations, st.TCPAllocations)},
		{Name: "Ever made", Value: fmt.Sprint(st.AllocationsCreated)},
		{Name: "Relayed", Value: cli.Size(up + down)},
		{Name: "In the kernel", Value: cli.Size(modes["splice"] + modes["tc"])},
		{Name: "Client connections", Value: fmt.Sprint(st.Streams)},
		{Name: "Refused", Value: counts(st.Refusals)},
		{Name: "Dropped", Value: counts(st.Drops)},
		{Name: "Denied peers", Value: counts(st.DeniedPeers)},
		{Name: "Failed logins", Value: counts(st.AuthFailures, "missing")},
	}
	sessions := dashboard.Table{
		Title: "Sessions", Empty: "Nobody has an allocation.",
		Columns: []string{"User", "Client", "Over", "Relayed address", "To peers", "To clients", "Permissions", "Channels", "Expires in"},
	}
	for _, s := range server.Sessions() {
		sessions.Rows = append(sessions.Rows, []string{
			s.User, s.Client.String(), s.Transport, s.Protocol + " " + s.Relayed.String(), cli.Size(s.BytesUp), cli.Size(s.BytesDown),
			fmt.Sprint(len(s.Permissions)), fmt.Sprint(len(s.Channels)), time.Until(s.Expires).Round(time.Second).String(),
		})
	}
	v.Tables = []dashboard.Table{sessions}
	return v
}

// counts are those that are not zero, by name, without what is no trouble.
func counts(byName map[string]uint64, fine ...string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if n := byName[name]; n > 0 && !slices.Contains(fine, name) {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}
