//go:build amd64 || arm64

package offload

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// rerouteEvery is in how many sweeps every flow is asked for its route, for what no change tells of: a path's MTU.
const rerouteEvery = 10

// links are this machine's interfaces.
type links = map[int]linkInfo

type linkInfo struct {
	name   string
	mtu    uint32
	usable bool // Ethernet and up
	wanted bool // has an address that others reach
}

// attachment is the program at one interface. Its link is held here: a link that nobody holds is collected, and the
// program goes with it.
type attachment struct {
	name    string
	ifindex int
	link    link.Link // tcx
	filters *netlink  // clsact
	program uint32    // its id
	lost    int       // times that somebody took it off
}

func (a *attachment) how() string {
	if a.link != nil {
		return "tcx"
	}
	return "clsact"
}

// attached asks the kernel.
func (a *attachment) attached() bool {
	if a.link == nil {
		return a.filters.filter(a.ifindex) == a.program
	}
	info, err := a.link.Info()
	if err != nil {
		return false
	}
	tcx := info.TCX()
	return tcx != nil && int(tcx.Ifindex) == a.ifindex // 0 once it was detached, or its interface has gone
}

func (a *attachment) detach() {
	switch {
	case a.link != nil:
		_ = a.link.Close()
	case a.filters.filter(a.ifindex) == a.program:
		_ = a.filters.removeFilter(a.ifindex)
	}
}

// attach puts the program at an interface's ingress, behind the programs that are there.
func (r *Relay) attach(ifindex int, name string) (*attachment, error) {
	info, err := r.objs.Relay.Info()
	if err != nil {
		return nil, err
	}
	id, _ := info.ID()
	a := &attachment{name: name, ifindex: ifindex, program: uint32(id)}
	err = ebpf.ErrNotSupported
	if !r.config.NoTCX {
		a.link, err = link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: r.objs.Relay, Attach: ebpf.AttachTCXIngress})
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		a.filters = r.routes
		err = r.routes.addFilter(ifindex, r.objs.Relay.FD())
	}
	if err != nil {
		return nil, explain(fmt.Errorf("attach to %s: %w", name, err))
	}
	return a, nil
}

// watch opens what hears of routes and interfaces.
func (r *Relay) watch() (err error) {
	if r.routes, err = openNetlink(0); err != nil {
		return err
	}
	r.changes, err = openNetlink(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE)
	return err
}

// Sweep looks after interfaces that come and go, routes that change, and programs that others detached. It is called about
// once a second.
func (r *Relay) Sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	changed := r.changes.changed()
	r.sweeps++
	if changed || r.sweeps%rerouteEvery == 0 {
		r.lookAroundLocked()
	}
	r.checkLocked()
	for h, e := range r.flows {
		if !e.over && (changed || (r.sweeps+int(h))%rerouteEvery == 0) {
			r.rerouteLocked(h, e)
		}
	}
}

// checkLocked attaches again what somebody detached, and gives up where they insist.
func (r *Relay) checkLocked() {
	for ifindex, a := range r.attached {
		if a.attached() {
			continue
		}
		delete(r.attached, ifindex)
		a.detach()
		if _, err := net.InterfaceByIndex(ifindex); err != nil {
			continue // the interface went, and the program with it
		}
		r.detached++
		if a.lost++; a.lost >= maxLost {
			r.failed[ifindex] = fmt.Errorf("offload: detached from %s %d times by another program", a.name, a.lost)
			r.config.Report(r.failed[ifindex])
			continue
		}
		again, err := r.attach(ifindex, a.name)
		if err != nil {
			r.failed[ifindex] = err
			r.config.Report(fmt.Errorf("%w, after somebody detached it", err))
			continue
		}
		again.lost = a.lost
		r.attached[ifindex] = again
		r.config.Report(fmt.Errorf("offload: somebody detached the program from %s; it is attached again", a.name))
	}
}

// lookAroundLocked reads the interfaces anew, and attaches to those that are new.
func (r *Relay) lookAroundLocked() {
	found, err := interfaces()
	if err != nil {
		return // as before; it is tried again
	}
	r.links = found
	for ifindex, a := range r.attached {
		if !found[ifindex].wanted {
			a.detach()
			delete(r.attached, ifindex)
		}
	}
	for ifindex := range r.failed {
		if !found[ifindex].wanted {
			delete(r.failed, ifindex)
		}
	}
	for ifindex, l := range found {
		if !l.wanted || r.attached[ifindex] != nil || r.failed[ifindex] != nil {
			continue
		}
		a, err := r.attach(ifindex, l.name)
		if err != nil {
			r.failed[ifindex] = err
			r.config.Report(err)
			continue
		}
		r.attached[ifindex] = a
	}
}

// interfaces reads all of them. Ethernet has addresses of 6 bytes; tunnels and point-to-point links have none, or longer.
func interfaces() (links, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	found := make(links, len(list))
	for _, i := range list {
		l := linkInfo{name: i.Name, mtu: uint32(i.MTU)}
		l.usable = len(i.HardwareAddr) == 6 && i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0
		if addrs, err := i.Addrs(); err == nil && l.usable {
			l.wanted = slices.ContainsFunc(addrs, func(a net.Addr) bool {
				prefix, err := netip.ParsePrefix(a.String())
				return err == nil && prefix.Addr().IsGlobalUnicast()
			})
		}
		found[i.Index] = l
	}
	return found, nil
}

// routeLocked finds the ways out of a flow's two directions.
func (r *Relay) routeLocked(e *entry) error {
	f := e.flow
	for dir, way := range [2]struct{ from, to netip.AddrPort }{{f.Relayed, f.Peer}, {f.Server, f.Client}} {
		out, err := r.routes.route(way.from.Addr(), way.to.Addr())
		if err != nil {
			return err
		}
		l := r.links[int(out.ifindex)]
		if !l.usable {
			return ErrRoute
		}
		if out.mtu == 0 || out.mtu > l.mtu {
			out.mtu = l.mtu
		}
		e.out[dir] = out
	}
	return nil
}

// rerouteLocked follows a route that has changed. Without one the flow waits in user space.
func (r *Relay) rerouteLocked(h Handle, e *entry) {
	before := e.out
	if err := r.routeLocked(e); err != nil {
		r.parkLocked(e)
		return
	}
	switch {
	case e.parked:
		e.parked = r.putLocked(h, e, ebpf.UpdateNoExist) != nil // another may have its addresses now
	case before != e.out:
		e.parked = r.putLocked(h, e, ebpf.UpdateAny) != nil
	}
}

// interfacesLocked lists those that are wanted.
func (r *Relay) interfacesLocked() []Interface {
	var list []Interface
	for _, a := range r.attached {
		list = append(list, Interface{Name: a.name, How: a.how()})
	}
	for ifindex, err := range r.failed {
		list = append(list, Interface{Name: r.links[ifindex].name, Why: err.Error()})
	}
	slices.SortFunc(list, func(a, b Interface) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
