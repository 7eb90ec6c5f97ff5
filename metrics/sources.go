package metrics

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"traverse.internal/connmgr"
	"traverse.internal/core/bufpool"
	"traverse.internal/core/ice"
	"traverse.internal/core/ktls"
	"traverse.internal/core/zerocopy"
	"traverse.internal/dht"
	"traverse.internal/internal/acme"
	"traverse.internal/signalling"
	"traverse.internal/signalling/lan"
	"traverse.internal/signalling/relay"
	"traverse.internal/transfer"
	"traverse.internal/turn"
	"traverse.internal/turn/mint"
)

// Sources are what a program has to count. A nil function leaves its metrics out;
// the others are called once per scrape, from any goroutine.
type Sources struct {
	Program string // node or turnd, in build_info
	Version string // in build_info; default the module's

	// WebConfig is a file that says who may read, in the form Prometheus' own
	// programs take: TLS, client certificates, users with bcrypt passwords. It is read
	// at the start, so that a mistake is found then, and again for each connection, so
	// that new certificates and users count at once. "": plain HTTP, for everybody.
	WebConfig string

	Manager    func() connmgr.Stats
	ICE        func() ice.Stats
	Signalling func() signalling.Stats
	Woken      func() Woken
	Push       func() relay.Stats
	LAN        func() lan.Stats
	DHT        func() dht.Stats
	Transfers  func() transfer.Stats
	Account    func() Account
	Turnd      func() turn.Stats
	Mint       func() mint.Stats
	ACME       func() acme.Stats

	Ready func() error // for /ready: why no new work is taken; nil: always ready
}

// register fills a registry: what every program has, and what src has. It returns
// the histogram for Server.PathSetup, nil when src makes no paths.
func (src Sources) register(r *prometheus.Registry) *prometheus.HistogramVec {
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(src.Program, src.Version),
		newBufpool(bufpool.ReadStats),
		newZerocopy(zerocopy.ReadStats),
		newKernelTLS(ktls.ReadStats),
	)
	if src.ICE != nil {
		r.MustRegister(newICE(src.ICE))
	}
	if src.Signalling != nil {
		r.MustRegister(newSignalling(src.Signalling))
	}
	if src.Woken != nil {
		r.MustRegister(newWoken(src.Woken))
	}
	if src.Push != nil {
		r.MustRegister(newPush(src.Push))
	}
	if src.LAN != nil {
		r.MustRegister(newLAN(src.LAN))
	}
	if src.DHT != nil {
		r.MustRegister(newDHT(src.DHT))
	}
	if src.Transfers != nil {
		r.MustRegister(newTransfers(src.Transfers))
	}
	if src.Account != nil {
		r.MustRegister(newAccount(src.Account))
	}
	if src.Turnd != nil {
		r.MustRegister(newTurnd(src.Turnd), newPusher(src.Turnd), newOffload(src.Turnd))
	}
	if src.ACME != nil {
		r.MustRegister(newACME(src.ACME))
	}
	if src.Mint != nil {
		r.MustRegister(newMint(src.Mint))
	}
	if src.Manager == nil {
		return nil
	}
	setup := newSetup()
	r.MustRegister(newManager(src.Manager), setup)
	return setup
}

// buildInfo is a constant 1 with what was built in its labels.
func buildInfo(program, version string) prometheus.Collector {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if version == "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "build_info",
		Help:        "Which program this is, always 1.",
		ConstLabels: prometheus.Labels{"program": program, "version": version, "revision": revision, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// A family is one metric name.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

// A scrape takes the samples of one collection.
type scrape chan<- prometheus.Metric

func (s scrape) add(f family, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

// count is add for what Stats count in.
func (s scrape) count(f family, value uint64, labels ...string) { s.add(f, float64(value), labels...) }

// countEach adds a count for each value of the family's only label.
func (s scrape) countEach(f family, counts map[string]uint64) {
	for label, n := range counts {
		s.count(f, n, label)
	}
}

// A collector has the families of one source.
type collector struct {
	families []family
	read     func(scrape)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.families {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) { c.read(scrape(out)) }
