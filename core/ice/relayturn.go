package ice

import (
	"context"

	"traverse.internal/core/turnclient"
)

// allocateTURN borrows a TCP port of one family from a TURN server, on a control connection of its own.
func allocateTURN(ctx context.Context, r Relay, v6 bool) (lender, error) {
	client, err := turnclient.Dial(ctx, turnclient.Config{Host: r.Server, Username: r.Username, Password: r.Password, TLS: r.TLS})
	if err != nil {
		return nil, err
	}
	family := turnclient.IPv4
	if v6 {
		family = turnclient.IPv6
	}
	a, err := client.Allocate(ctx, family)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return a, nil
}
