//go:build !linux

package portmap

import "net/netip"

// gateway guesses, where the routes were not tried to be read: most networks have the router at the first address.
func gateway() (router, ours netip.Addr, err error) {
	ours, err = towards(netip.AddrFrom4([4]byte{192, 0, 2, 1}))
	if err != nil {
		return router, ours, err
	}
	a := ours.As4()
	a[3] = 1
	return netip.AddrFrom4(a), ours, nil
}
