package probe_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"traverse.internal/turn/probe"
)

// A port where nobody is.
func ExampleRun() {
	_, err := probe.Run(context.Background(), probe.Config{
		Network: "tcp", Server: netip.MustParseAddrPort("127.0.0.1:1"), User: "u", Password: "p", Families: both, Timeout: time.Second,
	})
	fmt.Println(err)
	// Output: bind: dial tcp 127.0.0.1:1: connect: connection refused
}
