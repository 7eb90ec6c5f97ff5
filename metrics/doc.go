// Package metrics shows what a program counts on /metrics, and is the only importer
// of Prometheus.
//
// Nothing pushes: the other packages count in atomic fields and know nothing of
// this one. A scrape asks the functions in [Sources] for copies of their Stats and
// turns them into samples, so that a program nobody scrapes pays nothing. The one
// exception is a duration, which only exists when it has been measured:
// [Server.PathSetup].
//
// Names and labels are those of docs/metrics.md and are promises. No label ever
// carries a device, a user, an address or a file: every label's values come from a
// closed list in the code, so the number of series is bounded by construction and a
// scrape tells nobody who talked to whom.
//
// A program has one [Server] with one registry, whatever it embeds: a node with its
// relay shows both.
package metrics
