package daemon

import (
	"fmt"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
)

// Status looks at the whole node.
func (d *Daemon) Status() Status {
	s := Status{
		Envelope: envelope("status"), Device: PeerRef{d.cfg.Name, d.self.String()}, Since: d.began, Policy: d.cfg.Policy.String(),
		DHT:    d.dhtStatus(),
		Relays: []string{}, Peers: []PeerStatus{}, Transfers: d.table.list(nil),
	}
	for _, r := range d.rules.Load().relays {
		s.Relays = append(s.Relays, r.URL.String())
	}
	s.Push = d.pushStatus()
	if d.turnd != nil {
		for _, a := range d.turnd.TCPAddrs() {
			s.Turnd = append(s.Turnd, "tcp://"+a.String())
		}
		for _, a := range d.turnd.UDPAddrs() {
			s.Turnd = append(s.Turnd, "udp://"+a.String())
		}
	}
	if d.metrics != nil {
		s.Metrics = d.metrics.Addr().String()
	}
	if d.dashboard != nil {
		s.Dashboard = d.dashboard.URL()
	}
	s.Draining = d.drainStatus()
	d.peers(&s)
	s.Warnings = d.warnings(time.Now())
	if n := d.signaler.Stats().Expired; n > 0 {
		s.Warnings = append(s.Warnings, clockWarning(n))
	}
	return s
}

// peers adds the contacts, each with its session that takes channels, where there is one.
func (d *Daemon) peers(s *Status) {
	best := map[identity.DeviceID]connmgr.SessionInfo{}
	for _, info := range d.manager.Sessions() {
		if have, ok := best[info.Peer]; !ok || have.State == connmgr.StateDraining {
			best[info.Peer] = info
		}
	}
	connecting := map[identity.DeviceID]bool{}
	for _, id := range d.manager.Connecting() {
		connecting[id] = true
	}
	for _, c := range d.contacts.each() {
		p := PeerStatus{PeerRef: PeerRef{c.Name, c.Device.String()}, State: "idle"}
		if connecting[c.Device] {
			p.State = "connecting"
		}
		if info, ok := best[c.Device]; ok {
			since := info.Since
			p.State, p.Path, p.Channels, p.Since = string(info.State), pathOf(info.Route), len(info.Channels), &since
		}
		s.Peers = append(s.Peers, p)
	}
}

// clockWarning tells of messages that were refused for their time. A contact whose clock is wrong, or ours, looks silent otherwise.
func clockWarning(n uint64) string {
	return fmt.Sprintf("clock: %d messages of contacts were too old or from the future; a clock is wrong here or there, see `timedatectl`", n)
}
