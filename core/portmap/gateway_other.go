//go:build !linux

package portmap

import (
	"errors"
	"net/netip"
)

var errNoRouter6 = errors.New("the router for IPv6 is not looked for on this system")

// gateway guesses, where the routes were not tried to be read: most networks have the router at the first address. For IPv6
// there is nothing to guess by.
func gateway(v6 bool) (router, ours netip.Addr, err error) {
	if v6 {
		return router, ours, errNoRouter6
	}
	ours, err = towards(netip.AddrFrom4([4]byte{192, 0, 2, 1}))
	if err != nil {
		return router, ours, err
	}
	a := ours.As4()
	a[3] = 1
	return netip.AddrFrom4(a), ours, nil
}
