// The streams that were compared for paths over UDP (docs/adr), in a module of their own: the product has none of them.
module traverse.internal/bench/udpstream

go 1.26.0

require (
	github.com/pion/logging v0.2.3
	github.com/pion/sctp v1.8.39
	github.com/quic-go/quic-go v0.65.0
	traverse.internal v0.0.0
)

require (
	github.com/pion/randutil v0.1.0 // indirect
	github.com/pion/transport/v3 v3.0.7 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace traverse.internal => ../..
