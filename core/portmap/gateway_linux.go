package portmap

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

var (
	errNoRouter  = errors.New("there is no router: no default route for IPv4")
	errNoRouter6 = errors.New("there is no router: no default route for IPv6")
)

// somewhere6 is an address on the Internet, to ask the kernel which of ours it would use; nothing is sent there.
var somewhere6 = netip.MustParseAddr("2000::1")

// gateway returns the router of a family's default route, and our address towards the Internet. A router of IPv6 is known by
// its address on the link, which has a zone.
func gateway(v6 bool) (router, ours netip.Addr, err error) {
	name, find := "/proc/thread-self/net/route", defaultRoute
	if v6 {
		name, find = "/proc/thread-self/net/ipv6_route", defaultRoute6
	}
	f, err := os.Open(name)
	if err != nil {
		if v6 && errors.Is(err, os.ErrNotExist) {
			err = errNoRouter6 // a kernel without IPv6
		}
		return router, ours, err
	}
	defer f.Close()
	if router, err = find(f); err != nil {
		return router, ours, err
	}
	if v6 {
		ours, err = towards(somewhere6) // from the router's link-local address it would be ours of that kind
		return router, ours, err
	}
	ours, err = towards(router)
	return router, ours, err
}

// defaultRoute reads /proc/net/route.
func defaultRoute(r io.Reader) (netip.Addr, error) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		// Iface Destination Gateway Flags ..., addresses in hexadecimal as they lie in memory
		field := strings.Fields(lines.Text())
		if len(field) < 3 || field[1] != "00000000" || field[2] == "00000000" {
			continue
		}
		b, err := hex.DecodeString(field[2])
		if err != nil || len(b) != 4 {
			continue
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
		return netip.AddrFrom4(a), nil
	}
	return netip.Addr{}, errNoRouter
}

// defaultRoute6 reads /proc/net/ipv6_route and returns the router of the route that the kernel prefers.
func defaultRoute6(r io.Reader) (router netip.Addr, err error) {
	best := uint64(1 << 32)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		// destination, its length, source, its length, next hop, metric, references, uses, flags, interface
		field := strings.Fields(lines.Text())
		if len(field) < 10 || strings.Trim(field[0], "0") != "" || field[1] != "00" || strings.Trim(field[4], "0") == "" {
			continue
		}
		b, err := hex.DecodeString(field[4])
		metric, errMetric := strconv.ParseUint(field[5], 16, 32)
		if err != nil || errMetric != nil || len(b) != 16 || metric >= best {
			continue
		}
		best, router = metric, netip.AddrFrom16([16]byte(b))
		if router.IsLinkLocalUnicast() {
			router = router.WithZone(field[9])
		}
	}
	if !router.IsValid() {
		return router, errNoRouter6
	}
	return router, nil
}
