// Package arch is the map of the code as a test: who may import whom, and how packages present themselves.
//
// There is nothing to import here. The tests parse every Go file of the module once and compare it with the tables in
// tables_test.go and with ARCHITECTURE.md:
//
//   - arrows: a package imports those of ours that its row allows, and every package has a row;
//   - sole importers: a foreign package appears where it is wrapped and nowhere else;
//   - shadowed names: no file imports both core/tls and crypto/tls (or core/ice and pion/ice), and ours export none of
//     the other's names, so that code with the wrong import does not compile;
//   - presentation: a package comment whose first sentence is the package's row in ARCHITECTURE.md, and no file of more
//     than 500 lines;
//   - the goroutine ledger of ARCHITECTURE.md has every goroutine the code starts, and no other.
//
// `go test ./internal/arch -update` writes the rows of the map; the ledger is written by hand, since only a person can
// say who waits for a goroutine.
package arch
