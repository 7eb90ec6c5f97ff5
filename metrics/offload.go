package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/turn"
)

// newOffload is what the TURN server relays in the kernel.
func newOffload(read func() turn.Stats) prometheus.Collector {
	on := gauge("turnd_offload_enabled", "1 when channels can be relayed in the kernel.")
	share := gauge("turnd_offload_share", "Of the datagrams relayed since the start, the part that stayed in the kernel, 0 to 1.")
	interfaces := gauge("turnd_offload_interfaces", "Interfaces that the program is attached to, or that it cannot be attached to.", "mode")
	flows := gauge("turnd_offload_flows", "Channels that are relayed in the kernel.")
	packets := counter("turnd_offload_packets_total", "Datagrams that the program relayed.", "dir", "family")
	left := counter("turnd_offload_left_total", "Datagrams of such channels that were left to user space, by reason.", "reason")
	refused := counter("turnd_offload_refused_total", "Channels that could not be relayed in the kernel, by reason.", "reason")
	detached := counter("turnd_offload_detached_total", "Times that somebody else took the program off an interface.")
	return collector{[]family{on, share, interfaces, flows, packets, left, refused, detached}, func(s scrape) {
		st := read()
		if st.Offload == nil {
			s.add(on, 0)
			return
		}
		s.add(on, 1)
		s.add(share, st.OffloadShare())
		how := map[string]int{"tcx": 0, "clsact": 0, "": 0}
		for _, i := range st.Offload.Interfaces {
			how[i.How]++
		}
		for name, n := range how {
			if name == "" {
				name = "failed"
			}
			s.add(interfaces, float64(n), name)
		}
		s.add(flows, float64(st.Offload.Flows))
		for _, r := range st.Offload.Relayed {
			s.count(packets, r.Packets, r.Dir, r.Family)
		}
		s.countEach(left, st.Offload.Left)
		s.countEach(refused, st.Offload.Refused)
		s.count(detached, st.Offload.Detached)
	}}
}
