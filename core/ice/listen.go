package ice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// portTries is how often a free port is drawn until it is free on all addresses.
const portTries = 16

// listenAll opens one listener per address, all on the same port.
func listenAll(cfg *Config) ([]*net.TCPListener, error) {
	addrs := cfg.Addrs
	optional := addrs == nil // of the wildcards one family may be missing on this machine
	if optional {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for try := 1; ; try++ {
		lns, err := listenOn(addrs, cfg.Port, optional)
		if err == nil {
			return lns, nil
		}
		inUse := errors.Is(err, syscall.EADDRINUSE)
		switch {
		case inUse && cfg.Port != 0:
			return nil, fmt.Errorf("%w: TCP port %d: %w", ErrPortInUse, cfg.Port, err)
		case !inUse || try == portTries:
			return nil, fmt.Errorf("ice: listen: %w", err)
		}
	}
}

// listenOn listens on port of every address; with port 0 the first address chooses.
func listenOn(addrs []netip.Addr, port uint16, optional bool) (lns []*net.TCPListener, err error) {
	defer func() {
		if err != nil {
			closeAll(lns)
			lns = nil
		}
	}()
	var missing error
	for _, a := range addrs {
		a = a.Unmap()
		ln, err := listen(netip.AddrPortFrom(a, port))
		if err != nil {
			if optional && !errors.Is(err, syscall.EADDRINUSE) {
				missing = err
				continue
			}
			return lns, err
		}
		lns = append(lns, ln)
		port = ln.Addr().(*net.TCPAddr).AddrPort().Port()
	}
	if len(lns) == 0 {
		return nil, missing
	}
	return lns, nil
}

func listen(at netip.AddrPort) (*net.TCPListener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // an MPTCP socket knows neither kernel TLS nor splice
	ln, err := lc.Listen(context.Background(), network(at.Addr()), at.String())
	if err != nil {
		return nil, err
	}
	tcp := ln.(*net.TCPListener)
	raw, err := tcp.SyscallConn()
	if err == nil {
		err = shareListener(raw)
	}
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return tcp, nil
}

func closeAll(lns []*net.TCPListener) {
	for _, ln := range lns {
		ln.Close()
	}
}

// network is the Go network of an address, one family only.
func network(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// hosts returns the addresses to offer: the configured ones or those of the interfaces, best first.
func hosts(cfg *Config) ([]netip.Addr, error) {
	if cfg.Addrs != nil {
		out := make([]netip.Addr, len(cfg.Addrs))
		for i, a := range cfg.Addrs {
			out[i] = a.Unmap()
		}
		return out, nil
	}
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("ice: list interfaces: %w", err)
	}
	var found []netip.Addr
	for _, i := range ifaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went away
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					found = append(found, ip.Unmap())
				}
			}
		}
	}
	return best(found, cfg.Loopback), nil
}

// best orders addresses by how far away they can be reached from, drops what is of no use to another device, and keeps
// at most MaxHosts. A link-local address needs a zone that only its own machine knows.
func best(found []netip.Addr, loopback bool) []netip.Addr {
	var public, private, local []netip.Addr
	for _, a := range found {
		switch {
		case checkAddr(a) != "" || a.IsLinkLocalUnicast() || a.IsLoopback() && !loopback:
		case a.IsLoopback():
			local = append(local, a)
		case a.IsPrivate():
			private = append(private, a)
		default:
			public = append(public, a)
		}
	}
	return once(append(append(public, private...), local...), MaxHosts)
}
