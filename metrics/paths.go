package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
)

// setupBuckets are seconds. The targets are 0.1 s and 0.3 s for a direct path, 0.2 s and
// 0.6 s for a relayed one, and two poll intervals where only the slots are left.
var setupBuckets = []float64{0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.6, 1, 2.5, 5, 10, 30, 60}

func newSetup() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "node_path_setup_seconds",
		Help:    "Time from the start of an attempt to a path that carries a session.",
		Buckets: setupBuckets,
	}, []string{"kind"})
}

func newManager(read func() connmgr.Stats) prometheus.Collector {
	established := counter("node_path_established_total", "Paths that came to carry a session, by kind, transport and why this one.", "kind", "transport", "reason")
	migrations := counter("node_path_migrations_total", "Sessions that moved from one kind of path to another, by the reason of the new one.", "from", "to", "reason")
	upgrades := counter("node_path_upgrades_total", "Tries for a direct path of a session over a relay, by outcome.", "outcome")
	revived := counter("node_path_revived_total", "Sessions whose direct path died and that went back to the relayed link kept for them.")
	warm := gauge("node_path_warm_links", "Relayed links that are kept for sessions on a direct path, at most 8.")
	fallback := gauge("node_fallback_ratio", "Relayed paths among all established since the start; 0 before the first. For a window use the recording rule.")
	attempts := counter("node_connect_attempts_total", "Attempts to reach a device, and requests answered.", "dir")
	failures := counter("node_connect_failures_total", "Of those, the ones that led to no session.", "dir")
	dialling := gauge("node_connect_active", "Attempts under way.", "dir")
	refused := counter("node_connect_refused_total", "Requests met with silence.")
	glares := counter("node_glares_total", "Both sides called at once, and one of two sessions was dropped.")
	links := counter("node_links_total", "Links lost under a session, and links attached to a waiting one.", "what")
	sessions := gauge("node_sessions", "Sessions with other devices.", "state")
	channels := gauge("node_channels", "Channels of all sessions.", "state")
	opened := counter("node_channels_opened_total", "Channels ever opened, by either side.")
	files := counter("node_file_bytes_total", "Bytes of files given to the mux as references: sent by the kernel (sendfile), or read and copied when sent (copy).", "mode")
	busy := counter("node_channels_declined_busy_total", "Channel requests declined because nobody took them.")
	dropped := counter("node_events_dropped_total", "Events dropped because their observer was too slow.")
	families := []family{established, migrations, upgrades, revived, warm, fallback, attempts, failures, dialling, refused, glares, links, sessions, channels, opened, files, busy, dropped}
	return collector{families, func(s scrape) {
		st := read()
		var relayed, all uint64
		for p, n := range st.Paths {
			s.count(established, n, kindLabel(p.Kind), transportLabel(p.Via), string(p.Reason))
			all += n
			if p.Kind == "relayed" {
				relayed += n
			}
		}
		for mv, n := range st.Migrations {
			s.count(migrations, n, kindLabel(mv.From), kindLabel(mv.To), string(mv.Reason))
		}
		s.count(upgrades, st.Upgraded, "direct")
		s.count(upgrades, st.UpgradesFailed, "failed")
		s.count(revived, st.Revived)
		s.add(warm, float64(st.Warm))
		s.add(fallback, float64(relayed)/float64(max(1, all)))
		s.count(files, st.FileSent, "sendfile")
		s.count(files, st.FileCopied, "copy")
		s.count(attempts, st.Attempts, "out")
		s.count(attempts, st.Answered, "in")
		s.count(failures, st.Failures, "out")
		s.count(failures, st.AnswerFailures, "in")
		s.add(dialling, float64(st.Dialling), "out")
		s.add(dialling, float64(st.Answering), "in")
		s.count(refused, st.Refused)
		s.count(glares, st.Glares)
		s.count(links, st.LinksLost, "lost")
		s.count(links, st.Resumed, "resumed")
		s.add(sessions, float64(st.Sessions-st.Lingering-st.Draining), "connected")
		s.add(sessions, float64(st.Lingering), "lingering")
		s.add(sessions, float64(st.Draining), "draining")
		s.add(channels, float64(st.Channels), "open")
		s.count(opened, st.ChannelsOpened)
		s.count(busy, st.DeclinedBusy)
		s.count(dropped, st.EventsDropped)
	}}
}

func newICE(read func() ice.Stats) prometheus.Collector {
	negotiated := counter("node_ice_negotiations_total", "Negotiations that have ended, by outcome.", "outcome")
	punches := counter("node_punch_attempts_total", "Negotiations between two devices behind NATs, by outcome: for the transport that won, or where none did for each that was tried.", "transport", "outcome")
	live := gauge("node_ice_attempts", "Attempts that hold candidates now.")
	dials := counter("node_ice_dials_total", "Connections tried to a peer's candidates.")
	dialFailures := counter("node_ice_dial_failures_total", "Of those, the ones refused, timed out, or crossed by another.")
	accepted := counter("node_ice_accepted_total", "Connections that reached a listener, by what became of them.", "outcome")
	crossed := counter("node_ice_crossed_total", "Connections closed because they merged two attempts.")
	allocations := counter("node_relay_allocations_total", "Allocations asked of relays, by outcome.", "outcome")
	strayUDP := counter("node_ice_udp_stray_total", "Datagrams at the paths' UDP ports that were nobody's.")
	acceptErrors := counter("node_ice_accept_errors_total", "Errors of accept itself, as when descriptors run out.")
	return collector{[]family{negotiated, punches, live, dials, dialFailures, accepted, crossed, allocations, strayUDP, acceptErrors}, func(s scrape) {
		st := read()
		s.count(negotiated, st.Direct, "direct")
		s.count(negotiated, st.Relayed, "relayed")
		s.count(negotiated, st.Failed, "failed")
		s.count(punches, st.Punched, "tcp", "punched")
		s.count(punches, st.PunchedUDP, "udp", "punched")
		s.count(punches, st.PunchRelayed, "tcp", "relayed")
		s.count(punches, st.PunchRelayedUDP, "udp", "relayed")
		s.count(punches, st.PunchFailed, "tcp", "failed")
		s.count(punches, st.PunchFailedUDP, "udp", "failed")
		s.add(live, float64(st.Live))
		s.count(dials, st.Dials)
		s.count(dialFailures, st.DialFailures)
		s.count(accepted, st.Routed, "routed")
		s.count(accepted, st.Stray, "stray")
		s.count(accepted, st.Garbage, "garbage")
		s.count(accepted, st.Silent, "silent")
		s.count(accepted, st.Refused, "refused")
		s.count(accepted, st.Evicted, "evicted")
		s.count(crossed, st.Crossed)
		s.count(allocations, st.Allocations, "made")
		s.count(allocations, st.RelayFailures, "failed")
		s.count(strayUDP, st.UDPStray)
		s.count(acceptErrors, st.AcceptFailures)
	}}
}

// kindLabel keeps a label's values to the two kinds of path there are.
func kindLabel(kind string) string {
	switch kind {
	case "direct", "relayed":
		return kind
	}
	return "other"
}

// transportLabel is what stands behind the slash of "host/tcp".
func transportLabel(via string) string {
	if _, transport, ok := strings.Cut(via, "/"); ok {
		switch transport {
		case "tcp", "udp":
			return transport
		}
	}
	return "other"
}
