package ice

import (
	"net/netip"
	"slices"

	"traverse.internal/core/reason"
)

// whyDirect is the reason of a direct path. Both sides come to the same one, by what both offered.
func (a *Attempt) whyDirect(local, remote netip.Addr) reason.Code {
	ours, theirs := a.Offer(), a.theirs()
	switch {
	case near(remote):
		return reason.DirectLAN
	case reachable(&ours, local) || reachable(&theirs, remote):
		return reason.DirectPublic
	case ours.Network.Mapping != MapNone || theirs.Network.Mapping != MapNone:
		return reason.DirectMapped
	case len(ours.Candidates) == 0 || len(theirs.Candidates) == 0:
		return reason.DirectPublic // an offer that says nothing of NATs
	}
	return reason.PunchedTCP
}

// whyRelayed is the reason why there is no direct path, by what both offered.
func (a *Attempt) whyRelayed() reason.Code {
	ours, theirs := a.Offer(), a.theirs()
	n, m := ours.Network, theirs.Network
	switch {
	case a.rules() == RelayOnly:
		return reason.RelayPolicy
	case !common(&ours, &theirs):
		return reason.RelayFamilyMismatch
	case (n.Filtered || m.Filtered) && (n.UDPBlocked || m.UDPBlocked):
		return reason.RelayUDPBlocked
	case n.Filtered || m.Filtered || atHome(&ours) || atHome(&theirs):
		return reason.RelayTCPFiltered
	case n.Symmetric && m.Symmetric:
		return reason.RelaySymmetricBoth
	case n.Symmetric || m.Symmetric:
		return reason.RelaySymmetricOne
	case behindNAT(&ours) && behindNAT(&theirs):
		return reason.RelayPunchTimeout
	}
	return reason.RelayTCPFiltered
}

// punches reports whether there is no way but through NATs on both sides.
func (a *Attempt) punches() bool {
	ours, theirs := a.Offer(), a.theirs()
	return behindNAT(&ours) && behindNAT(&theirs) && !atHome(&ours) && !atHome(&theirs) && common(&ours, &theirs)
}

func (a *Attempt) theirs() Offer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remote
}

// common reports whether a family has addresses on both sides; also where a side offers none, which says nothing.
func common(x, y *Offer) bool {
	if len(x.Candidates) == 0 || len(y.Candidates) == 0 {
		return true
	}
	for _, c := range x.Candidates {
		if slices.ContainsFunc(y.Candidates, func(d Candidate) bool { return c.Addr.Addr().Is4() == d.Addr.Addr().Is4() }) {
			return true
		}
	}
	return false
}

// reachable reports whether an address is a host candidate of the offer and public.
func reachable(o *Offer, addr netip.Addr) bool {
	return public(addr) && slices.ContainsFunc(o.Candidates, func(c Candidate) bool { return c.Type == TypeHost && c.Addr.Addr() == addr })
}

// atHome reports whether an offer has a public address of the device's own.
func atHome(o *Offer) bool {
	return slices.ContainsFunc(o.Candidates, func(c Candidate) bool { return c.Type == TypeHost && public(c.Addr.Addr()) })
}

// behindNAT reports whether an offer has an address that only a server saw.
func behindNAT(o *Offer) bool {
	return slices.ContainsFunc(o.Candidates, func(c Candidate) bool { return c.Type == TypeSrflx })
}

var carrierSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// public reports whether an address can be one on the Internet.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierSpace.Contains(a)
}
