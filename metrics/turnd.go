package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/internal/acme"
	"traverse.internal/turn"
	"traverse.internal/turn/mint"
)

func newTurnd(read func() turn.Stats) prometheus.Collector {
	allocations := gauge("turnd_allocations", "Allocations, by family of the relayed address and transport of the client.", "family", "transport")
	tcp := gauge("turnd_tcp_allocations", "Of the allocations, those whose relayed transport is TCP (RFC 6062).")
	created := counter("turnd_allocations_created_total", "Allocations ever made.")
	reserved := gauge("turnd_reserved_ports", "Ports that wait for their reservation token.")
	bytes := counter("turnd_relay_bytes_total", "Payload relayed, up to the peer or down to the client; splice and tc stay in the kernel.", "dir", "family", "mode")
	packets := counter("turnd_relay_packets_total", "Datagrams relayed.", "dir", "family")
	calls := counter("turnd_udp_syscalls_total", "System calls that moved datagrams.", "dir")
	trains := counter("turnd_udp_trains_total", "Messages of several datagrams, by direction; single are trains that the kernel refused and that went out one by one.", "dir")
	waits := counter("turnd_udp_waits_total", "Times that a shard waited for its sockets; held are those that kept the processor, because datagrams came in close succession.", "mode")
	connected := gauge("turnd_connected_sockets", "Sockets at relayed addresses that are connected to their busiest peers.")
	icmp := counter("turnd_icmp_errors_total", "ICMP errors of peers that clients were told of.")
	requests := counter("turnd_requests_total", "STUN requests understood.")
	auth := counter("turnd_auth_failures_total", "Requests not taken as their user's; missing is every client's first.", "reason")
	denied := counter("turnd_denied_peers_total", "Peer addresses refused by policy, by the rule that did it.", "reason")
	drops := counter("turnd_drops_total", "Packets not relayed.", "reason")
	refusals := counter("turnd_refusals_total", "Allocations refused for want of quota or capacity, by error code.", "code")
	quotas := counter("turnd_quota_refusals_total", "Requests refused with 486 or 508, by the limit that did it.", "what")
	streams := gauge("turnd_streams", "TCP connections and DTLS sessions of clients, data connections included.", "state")
	dtls := gauge("turnd_dtls_sessions", "Of the streams, those over DTLS; pending are handshakes under way.", "state")
	handshakes := counter("turnd_dtls_handshakes_total", "DTLS handshakes by how they ended; asked are ClientHellos answered by a cookie and nothing else.", "outcome")
	pairs := gauge("turnd_data_pairs", "Peer connections joined with their client's.")
	revoked := counter("turnd_revoked_total", "Permissions, channels and peer connections that a reload took back.")
	draining := gauge("turnd_draining", "1 while no new allocation is let in.")
	expiry := gauge("turnd_cert_expiry_timestamp_seconds", "When the certificate of the TLS listeners ends, in Unix time.")
	certFailures := counter("turnd_cert_failures_total", "Changes of the certificate's files that could not be used.")
	families := []family{
		allocations, tcp, created, reserved, bytes, packets, calls, trains, waits, connected, icmp, requests, auth, denied, drops, refusals, quotas, streams, dtls, handshakes, pairs, revoked, draining, expiry, certFailures,
	}
	return collector{families, func(s scrape) {
		st := read()
		for _, a := range st.Allocations {
			s.add(allocations, float64(a.Count), a.Family, a.Transport)
		}
		s.add(tcp, float64(st.TCPAllocations))
		s.count(created, st.AllocationsCreated)
		s.add(reserved, float64(st.Reserved))
		datagrams := make(map[[2]string]uint64) // by direction and family
		for _, r := range st.Relayed {
			s.count(bytes, r.Bytes, r.Dir, r.Family, r.Mode)
			if r.Mode == "batch" || r.Mode == "tc" {
				datagrams[[2]string{r.Dir, r.Family}] += r.Packets
			}
		}
		for way, n := range datagrams {
			s.count(packets, n, way[0], way[1])
		}
		s.count(calls, st.Datagrams.RecvCalls, "in")
		s.count(calls, st.Datagrams.SendCalls, "out")
		s.count(trains, st.Datagrams.TrainsIn, "in")
		s.count(trains, st.Datagrams.TrainsOut, "out")
		s.count(trains, st.Datagrams.Fallbacks, "single")
		s.count(waits, st.Datagrams.Holds, "held")
		s.count(waits, st.Datagrams.Waits-min(st.Datagrams.Waits, st.Datagrams.Holds), "lent")
		s.add(connected, float64(st.Connected))
		s.count(icmp, st.ICMP)
		s.count(requests, st.Requests)
		s.countEach(auth, st.AuthFailures)
		s.countEach(denied, st.DeniedPeers)
		s.countEach(drops, st.Drops)
		s.countEach(refusals, st.Refusals)
		s.countEach(quotas, st.Quotas)
		s.add(streams, float64(st.Strangers), "stranger")
		s.add(streams, float64(st.Streams-st.Strangers), "authenticated")
		s.add(dtls, float64(st.DTLSSessions), "open")
		s.add(dtls, float64(st.DTLSPending), "pending")
		s.countEach(handshakes, st.DTLSHandshakes)
		s.add(pairs, float64(st.DataPairs))
		s.count(revoked, st.Revoked)
		if !st.CertExpires.IsZero() {
			s.add(expiry, float64(st.CertExpires.Unix()))
		}
		s.count(certFailures, st.CertFailures)
		on := 0.0
		if st.Draining {
			on = 1
		}
		s.add(draining, on)
	}}
}

func newACME(read func() acme.Stats) prometheus.Collector {
	asked := counter("turnd_acme_certificates_total", "Certificates asked of the authority, renewals among them, by outcome; what failed is tried again.", "outcome")
	return collector{[]family{asked}, func(s scrape) {
		st := read()
		s.count(asked, st.Obtained, "obtained")
		s.count(asked, st.Failures, "failed")
	}}
}

func newMint(read func() mint.Stats) prometheus.Collector {
	minted := counter("turnd_minted_total", "Credentials made for web applications.")
	refused := counter("turnd_mint_refusals_total", "Requests for credentials that were refused.", "reason")
	return collector{[]family{minted, refused}, func(s scrape) {
		st := read()
		s.count(minted, st.Minted)
		s.countEach(refused, st.Refused)
	}}
}
