package turn

import (
	"net/netip"

	"traverse.internal/turn/alloc"
)

// Drain lets no new allocation in: clients get 300 where Config.Alternates has a server of their family, else 508. A
// reserved port can still be redeemed, because it was promised, but is not waited for. What there is goes on, may be refreshed, and ends by
// itself; Drained tells when.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.noteDrained()
}

// Drained is closed when the server drains and the last allocation has ended.
func (s *Server) Drained() <-chan struct{} { return s.drained }

func (s *Server) noteDrained() {
	if !s.draining.Load() {
		return
	}
	s.ledgerMu.Lock()
	left := s.ledger.Total() - s.ledger.Reserved()
	s.ledgerMu.Unlock()
	if left == 0 {
		s.empty.Do(func() { close(s.drained) })
	}
}

// refusal is what a client gets that comes too late.
func (s *Server) refusal(client netip.Addr) alloc.Verdict {
	if s.alternate(client).IsValid() {
		return alloc.TryAlternate
	}
	return alloc.InsufficientCapacity
}

// alternate is where a client may go instead; invalid: nowhere.
func (s *Server) alternate(client netip.Addr) netip.AddrPort {
	for _, at := range *s.alternates.Load() {
		if at.Addr().Is4() == client.Is4() {
			return at
		}
	}
	return netip.AddrPort{}
}
