package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/ktls"
	"traverse.internal/core/zerocopy"
)

func newBufpool(read func() bufpool.Stats) prometheus.Collector {
	gets := counter("bufpool_gets_total", "Buffers lent, by the bytes their class has room for.", "size")
	misses := counter("bufpool_misses_total", "Buffers lent that had to be allocated.", "size")
	return collector{[]family{gets, misses}, func(s scrape) {
		st := read()
		for _, c := range st.Classes {
			size := strconv.Itoa(c.Size)
			s.count(gets, c.Gets, size)
			s.count(misses, c.Misses, size)
		}
		s.count(gets, st.Oversize, "oversize")
		s.count(misses, st.Oversize, "oversize")
	}}
}

func newKernelTLS(read func() ktls.Stats) prometheus.Collector {
	links := counter("tls_links_total", "TCP links whose handshake was done, by who seals their records since: the kernel or this program, and why.", "tls", "reason")
	available := gauge("tls_kernel_available", "1 when the kernel was tried and can, 0 when it cannot or was not tried yet.")
	refused := counter("tls_kernel_errors_total", "What ended links in the kernel: alerts of the peer, records that were refused.", "reason")
	return collector{[]family{links, available, refused}, func(s scrape) {
		st := read()
		s.count(links, st.Kernel, "kernel", "")
		for why, n := range st.User {
			s.count(links, n, "user", why)
		}
		can := 0.0
		if st.Available {
			can = 1
		}
		s.add(available, can)
		s.count(refused, st.Alerts, "alert")
		s.count(refused, st.Bad, "record")
	}}
}

func newZerocopy(read func() zerocopy.Stats) prometheus.Collector {
	moved := counter("zerocopy_bytes_total", "Bytes moved between two connections, inside the kernel or through a buffer.", "mode")
	misses := counter("zerocopy_pipe_misses_total", "Moves through a buffer because every pipe was taken.")
	rescues := counter("zerocopy_pipe_rescues_total", "Pipes taken from connections whose receiver did not read; what was in them went on from buffers.")
	refused := counter("zerocopy_refused_total", "Connections the kernel would not splice.")
	pipes := gauge("zerocopy_pipes", "Pipes held for splicing.", "state")
	return collector{[]family{moved, misses, rescues, refused, pipes}, func(s scrape) {
		st := read()
		s.count(moved, st.SplicedBytes, "splice")
		s.count(moved, st.CopiedBytes, "copy")
		s.count(misses, st.PipeMisses)
		s.count(rescues, st.Rescues)
		s.count(refused, st.Refused)
		s.add(pipes, float64(st.PipesIdle), "idle")
		s.add(pipes, float64(st.PipesOpen-st.PipesIdle), "busy")
	}}
}
