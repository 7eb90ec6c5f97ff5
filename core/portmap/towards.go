package portmap

import (
	"net"
	"net/netip"
)

// towards returns our address on the way to another one. Nothing is sent.
func towards(to netip.Addr) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, serverPort)))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// beside returns the other addresses of IPv6 that the interface with ours has on the Internet, at most maxAddresses with ours.
func beside(ours netip.Addr) []netip.Addr {
	interfaces, _ := net.Interfaces() // without the list there is only the one
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		var others []netip.Addr
		mine := false
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			switch at := prefix.Addr(); {
			case err != nil || !at.Is6() || !at.IsGlobalUnicast() || at.IsPrivate():
			case at == ours:
				mine = true
			default:
				others = append(others, at)
			}
		}
		if mine {
			return others[:min(len(others), maxAddresses-1)]
		}
	}
	return nil
}
