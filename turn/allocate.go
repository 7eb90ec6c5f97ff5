package turn

import (
	"crypto/rand"
	"net/netip"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
	"traverse.internal/turn/alloc"
)

// wish is what an Allocate request asks for.
type wish struct {
	protocol   alloc.Protocol
	family     int
	even       bool // EVEN-PORT
	reserve    bool // and its R bit
	additional bool // ADDITIONAL-ADDRESS-FAMILY
	token      alloc.Token
	redeem     bool // RESERVATION-TOKEN
	mobile     bool // MOBILITY-TICKET
	lifetime   uint32
}

// allocate makes an allocation: RFC 8656 §7.2, RFC 6062 §5.1.
func (r *request) allocate() []byte {
	if answer, exists := r.existing(); exists {
		return answer
	}
	if transition(r.tuple.Client.Addr()) { // RFC 8656 §21.4
		return r.fail(stun.CodeForbidden)
	}
	w, answer := r.wish()
	if answer != nil {
		return answer
	}
	rel := &relay{shard: r.shard, family: w.family, charged: r.tuple.Client.Addr(), made: r.tuple.Transport}
	rel.client.Store(r.client())
	if w.mobile {
		rel.ticket = newTicket()
	}
	n := alloc.New{
		Tuple: r.tuple, User: r.user.name, Transaction: r.id, Protocol: w.protocol, Lifetime: w.lifetime, Handle: rel,
	}
	var verdict alloc.Verdict
	if w.additional {
		verdict = r.openDual(rel, &n, w)
	} else {
		verdict = r.openRelay(rel, &n, w)
	}
	if verdict != alloc.OK {
		return r.refuse(verdict)
	}
	if !r.insert(rel, n) {
		return nil // the server is closing
	}
	return r.allocated(rel.alloc)
}

// existing answers when the 5-tuple has an allocation already: a retransmission gets the same answer again (RFC 8656
// §7.2), anything else 437.
func (r *request) existing() ([]byte, bool) {
	r.shard.mu.Lock()
	a := r.shard.table.Lookup(r.tuple)
	same := a != nil && r.stream == nil && a.Transaction == r.id && a.User == r.user.name
	r.shard.mu.Unlock()
	switch {
	case a == nil:
		return nil, false
	case same:
		return r.allocated(a), true
	}
	return r.refuse(alloc.Mismatch), true
}

// wish reads the request, in the order in which RFC 8656 §7.2 and RFC 6062 §5.1 check it. The answer is nil when it is in
// order.
func (r *request) wish() (w wish, answer []byte) {
	bad := func() (wish, []byte) { return w, r.fail(stun.CodeBadRequest) }
	transport, err := r.msg.RequestedTransport()
	if err != nil {
		return bad()
	}
	_, evenErr := r.msg.EvenPort()
	_, tokenErr := r.msg.ReservationToken()
	hasEven, hasToken := evenErr != stun.ErrMissing, tokenErr != stun.ErrMissing
	hasFamily, hasAdditional := r.msg.Has(stun.AttrRequestedAddressFamily), r.msg.Has(stun.AttrAdditionalAddressFamily)
	dontFragment := r.msg.Has(stun.AttrDontFragment)
	switch transport {
	case stun.TransportUDP:
		w.protocol = alloc.RelayUDP
		if r.shard.server.config.NoUDPRelays {
			return w, r.fail(stun.CodeForbidden)
		}
	case stun.TransportTCP:
		w.protocol = alloc.RelayTCP
		if r.shard.server.config.NoTCPRelays {
			return w, r.fail(stun.CodeUnsupportedTransport)
		}
		if r.stream == nil || dontFragment || hasEven || hasToken {
			return bad()
		}
	default:
		return w, r.fail(stun.CodeUnsupportedTransport)
	}
	if dontFragment && !r.shard.server.keepsWhole() {
		return w, r.unknown([]stun.AttrType{stun.AttrDontFragment})
	}
	if hasToken {
		if hasEven || hasFamily || hasAdditional || tokenErr != nil {
			return bad()
		}
		w.redeem = true
		w.token, _ = r.msg.ReservationToken()
	}
	if hasFamily && hasAdditional {
		return bad()
	}
	if value, ok := r.msg.Attr(stun.AttrMobilityTicket); ok { // RFC 8016 §3.1.2
		switch {
		case len(value) > 0:
			return bad()
		case !r.shard.server.config.Mobility || w.protocol == alloc.RelayTCP: // data connections could not move along
			return w, r.fail(stun.CodeMobilityForbidden) // the client asks again without
		}
		w.mobile = true
	}
	if hasEven {
		if evenErr != nil {
			return bad()
		}
		w.even = true
		if w.reserve, _ = r.msg.EvenPort(); w.reserve && hasAdditional {
			return bad()
		}
	}
	if hasAdditional {
		if family, err := r.msg.Family(stun.AttrAdditionalAddressFamily); err != nil || family != stun.FamilyIPv6 {
			return bad()
		}
		w.additional = true
	}
	if code := r.wantedFamily(&w); code != 0 {
		return w, r.fail(code)
	}
	w.lifetime, err = r.msg.Uint32(stun.AttrLifetime)
	if err == stun.ErrMalformed {
		return bad()
	}
	return w, nil
}

// wantedFamily reads REQUESTED-ADDRESS-FAMILY; without it IPv4 is meant. A token brings its own.
func (r *request) wantedFamily(w *wish) stun.ErrorCode {
	family, err := r.msg.Family(stun.AttrRequestedAddressFamily)
	switch {
	case err == stun.ErrMissing:
		family = stun.FamilyIPv4
	case err != nil:
		return stun.CodeBadRequest
	}
	switch family {
	case stun.FamilyIPv4:
		w.family = ip4
	case stun.FamilyIPv6:
		w.family = ip6
	default:
		return stun.CodeFamilyNotSupported
	}
	if !w.redeem && !w.additional && !r.shard.server.relayIP(w.family).IsValid() {
		return stun.CodeFamilyNotSupported
	}
	return 0
}

// openRelay charges the user and opens the relayed socket. When it refuses, nothing is left open or charged.
func (r *request) openRelay(rel *relay, n *alloc.New, w wish) alloc.Verdict {
	s := r.shard.server
	if w.redeem {
		return r.redeem(rel, n, w.token)
	}
	width := 1
	if w.reserve {
		width = 2
	}
	if verdict := s.admit(n.User, rel.charged, width); verdict != alloc.OK {
		return verdict
	}
	ok := false
	rel.family = w.family
	switch {
	case w.protocol == alloc.RelayTCP:
		rel.tcp, n.Relayed, ok = s.openTCPRelay(w.family)
	case s.config.RelayMode == RelayShared:
		ok = !w.reserve && r.pickShared(rel, n, w) // the next port is others' already
	case w.reserve:
		ok = r.openPair(rel, n, w.family)
	case w.even:
		rel.udp, n.Relayed, ok = s.openUDPRelay(w.family, (*alloc.Ports).TakeEven)
	default:
		rel.udp, n.Relayed, ok = s.openUDPRelay(w.family, (*alloc.Ports).Take)
	}
	if !ok {
		for range width {
			s.leave(n.User, rel.charged)
		}
		return alloc.InsufficientCapacity
	}
	return alloc.OK
}

func (s *Server) openUDPRelay(family int, take func(*alloc.Ports, uint64) (uint16, bool)) (conn *udp.Conn, addr netip.AddrPort, ok bool) {
	addr, ok = s.bindPort(family, 0, take, 1, func(at netip.AddrPort) (err error) {
		conn, err = udp.Listen(at, relayOptions)
		return err
	})
	return conn, addr, ok
}

// openPair opens an even port and the next, and keeps that one, open, for who comes with the token.
func (r *request) openPair(rel *relay, n *alloc.New, family int) bool {
	s := r.shard.server
	var partner *udp.Conn
	addr, ok := s.bindPort(family, 0, (*alloc.Ports).TakePair, 2, func(at netip.AddrPort) error {
		first, err := udp.Listen(at, relayOptions)
		if err != nil {
			return err
		}
		partner, err = udp.Listen(netip.AddrPortFrom(at.Addr(), at.Port()+1), relayOptions)
		if err != nil {
			_ = first.Close()
			return err
		}
		rel.udp = first
		return nil
	})
	if !ok {
		return false
	}
	n.Relayed = addr
	_, _ = rand.Read(n.Token[:]) // never fails since Go 1.24
	s.ledgerMu.Lock()
	s.ledger.Reserve(r.now, n.Token, alloc.Reservation{
		User: n.User, Client: rel.charged, Handle: partner, Addr: netip.AddrPortFrom(addr.Addr(), addr.Port()+1),
	})
	s.ledgerMu.Unlock()
	return true
}

// redeem takes over a reserved port. Its charge is the one that was made with the reservation.
func (r *request) redeem(rel *relay, n *alloc.New, token alloc.Token) alloc.Verdict {
	s := r.shard.server
	s.ledgerMu.Lock()
	reserved, ok := s.ledger.Redeem(r.now, token, n.User)
	s.ledgerMu.Unlock()
	if !ok {
		return alloc.InsufficientCapacity
	}
	rel.udp, n.Relayed = reserved.Handle.(*udp.Conn), reserved.Addr
	rel.charged, rel.family = reserved.Client, familyOf(reserved.Addr.Addr())
	return alloc.OK
}

// insert puts the allocation into its table and starts what serves it.
func (r *request) insert(rel *relay, n alloc.New) bool {
	sh := r.shard
	sh.server.ledgerMu.Lock()
	n.Held = sh.server.ledger.Held(n.User, rel.charged) // which openRelay has charged
	sh.server.ledgerMu.Unlock()
	rel.at = n.Relayed
	halves := []*relay{rel}
	if rel.second != nil {
		rel.second.at = n.Second
		halves = append(halves, rel.second)
	}
	for _, h := range halves {
		h.held = n.Held
		for direction := range h.flows {
			h.flows[direction].Total = &sh.stats.flows[direction][h.family]
		}
		sh.stats.allocations[h.family][h.made].Add(1)
		if h.tcp != nil {
			sh.stats.tcp.Add(1)
		}
	}
	sh.mu.Lock()
	verdict := alloc.Mismatch
	var a *alloc.Allocation
	if !sh.closed {
		a, verdict = sh.table.Insert(r.now, n)
	}
	if verdict == alloc.OK && rel.ticket != nil {
		sh.mobile[rel.ticket.id] = a
	}
	if verdict != alloc.OK {
		a = &alloc.Allocation{Tuple: n.Tuple, User: n.User}
	}
	for _, h := range halves {
		h.alloc = a
	}
	sh.mu.Unlock()
	if verdict != alloc.OK {
		for _, h := range halves {
			h.free()
		}
		return false
	}
	sh.stats.created.Add(1)
	rel.client.Load().setAllocated(true)
	for _, h := range halves {
		if h.udp != nil && h.shared == nil && sh.poller.Add(h.udp, h) != nil {
			sh.end(n.Tuple) // the system lets nobody wait for more sockets, or the server is closing
			return false
		}
	}
	return true
}

// allocated is the success response.
func (r *request) allocated(a *alloc.Allocation) []byte {
	b := r.begin(r.method.Success())
	b.AddXORAddr(stun.AttrXORRelayedAddress, r.shard.server.advertised(a.Relayed))
	if a.Second.IsValid() {
		b.AddXORAddr(stun.AttrXORRelayedAddress, r.shard.server.advertised(a.Second))
	}
	b.AddUint32(stun.AttrLifetime, r.remaining(a))
	if a.Token != (alloc.Token{}) {
		b.Add(stun.AttrReservationToken, a.Token[:])
	}
	if missing := relayOf(a).missing; missing.code != 0 { // RFC 8656 §7.2: half of a dual allocation
		b.AddAddressError(missing.family, missing.code)
	}
	b.AddXORAddr(stun.AttrXORMappedAddress, r.tuple.Client)
	r.addTicket(&b, a)
	return r.finish(&b)
}

func (r *request) remaining(a *alloc.Allocation) uint32 {
	r.shard.mu.Lock()
	defer r.shard.mu.Unlock()
	return a.Remaining(r.now)
}

// transition says whether an address is of 6to4 or Teredo, which are no clients' addresses.
func transition(ip netip.Addr) bool {
	return within(transitions, ip)
}

var transitions = prefixes("2002::/16", "2001::/32")
