package daemon

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/dashboard"
)

// openDashboard opens the status page, where one is wanted.
func (d *Daemon) openDashboard() error {
	if d.cfg.Dashboard == "" {
		return nil
	}
	srv, err := dashboard.Listen(d.cfg.Dashboard, d.view)
	if errors.Is(err, dashboard.ErrNotLoopback) {
		return cli.Errorf("E_CONFIG", "the dashboard cannot listen on %s", d.cfg.Dashboard).Because(err).
			Hint("127.0.0.1:7878, and from another machine: ssh -L 7878:127.0.0.1:7878 HOST")
	}
	if err != nil {
		return explainListen(err, "dashboard", d.cfg.Dashboard)
	}
	d.dashboard = srv
	d.undo(func() { _ = srv.Close() })
	return nil
}

// view is what the status page shows: what `status`, `conns` and `channels` print.
func (d *Daemon) view() dashboard.View {
	s := d.Status()
	v := dashboard.View{
		Program: "node", Title: s.Device.Name, State: "up since " + s.Since.Format(time.DateTime), OK: true,
		Alerts: append([]string{}, s.Warnings...),
	}
	var in, out uint64
	sessions := dashboard.Table{
		Title: "Sessions", Empty: "Nobody is connected.",
		Columns: []string{"Peer", "State", "Path", "Reason", "Channels", "Round trip", "In", "Out", "Since"},
	}
	for _, c := range d.SessionList().Sessions {
		in, out = in+c.BytesIn, out+c.BytesOut
		path, reason := "-", "-"
		if c.Path != nil {
			path, reason = c.Path.Kind+" "+c.Path.Via, c.Path.Reason
		}
		sessions.Rows = append(sessions.Rows, []string{
			c.Peer.Name, c.State, path, reason, fmt.Sprint(c.Channels), shortly(c.RTT), cli.Size(c.BytesIn), cli.Size(c.BytesOut), c.Since.Format(time.DateTime),
		})
	}
	channels := dashboard.Table{
		Title: "Channels", Empty: "No channel is open.",
		Columns: []string{"Peer", "Name", "Opened by", "In", "Out", "Unread", "Queued"},
	}
	if list, err := d.ChannelList(""); err == nil {
		for _, c := range list.Channels {
			by := "us"
			if c.Inbound {
				by = "them"
			}
			channels.Rows = append(channels.Rows, []string{
				c.Peer.Name, c.Name, by, cli.Size(c.BytesIn), cli.Size(c.BytesOut), cli.Size(uint64(c.Unread)), cli.Size(uint64(c.Queued)),
			})
		}
	}
	transfers := dashboard.Table{
		Title: "Transfers", Empty: "Nothing was sent or received.",
		Columns: []string{"Transfer", "Peer", "Direction", "File", "State", "Done", "Size", "A second"},
	}
	for _, t := range s.Transfers {
		transfers.Rows = append(transfers.Rows, []string{
			t.ID, t.Peer.Name, t.Direction, t.File, string(t.State), cli.Size(uint64(max(0, t.Bytes))), cli.Size(uint64(max(0, t.Size))), cli.Size(uint64(max(0, t.RateBPS))),
		})
	}
	peers := dashboard.Table{Title: "Contacts", Empty: "There are none: traverse contact add.", Columns: []string{"Name", "State", "Device"}}
	for _, p := range s.Peers {
		peers.Rows = append(peers.Rows, []string{p.Name, p.State, p.Device})
	}
	v.Facts = []dashboard.Fact{
		{Name: "Device", Value: s.Device.Device},
		{Name: "DHT", Value: fmt.Sprintf("%s, %d nodes answer", s.DHT.Mode, s.DHT.Nodes)},
		{Name: "Path policy", Value: s.Policy},
		{Name: "Relays", Value: orDash(strings.Join(s.Relays, ", "))},
		{Name: "Relay inside", Value: orDash(strings.Join(s.Turnd, ", "))},
	}
	v.Rates = []dashboard.Rate{{Name: "received", Bytes: in}, {Name: "sent", Bytes: out}}
	v.Tables = []dashboard.Table{sessions, channels, transfers, peers}
	return v
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// shortly is a round trip for people.
func shortly(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(10 * time.Microsecond).String()
}
