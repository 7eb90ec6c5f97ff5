package ice

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Limits of an Offer. Whatever is beyond them is dropped, lowest priority first: an offer is help, and less of it still
// helps. Nonsense (a port 0, an unspecified address) refuses the whole offer instead, because it means a broken peer.
const (
	MaxHosts      = 8               // host candidates per transport
	MaxReflexive  = 4               // srflx and prflx candidates per transport
	MaxRelays     = 4               // relayed addresses per transport: 2 servers of 2 families
	MaxCandidates = 2 * (8 + 4 + 4) // 32, TCP and UDP together
	MaxSources    = 8               // addresses the peer may dial from, beyond those of its candidates
	MaxOfferText  = 8 << 10         // bytes of the text form: 32 + 4 + 8 lines of up to 120, and room for lines that get dropped
	MaxOfferBytes = 700             // binary form: sealed and signed it has to fit a DHT value of 1,000 bytes

	minUfrag, maxUfrag       = 4, 32  // RFC 8445 §5.3: at least 4 characters (24 bits)
	minPassword, maxPassword = 22, 64 // RFC 8445 §5.3: at least 22 characters (128 bits)
	maxFoundation            = 32     // RFC 8839 §5.1
	minPrint, maxPrint       = 32, 64 // bytes of a fingerprint: SHA-256 to SHA-512
)

// CandidateType says how a candidate's address came to be.
type CandidateType uint8

// Candidate types of RFC 8445 §5.1.1, under the names that the text form uses.
const (
	TypeHost  CandidateType = iota // an interface's address
	TypeSrflx                      // seen by a server, or mapped by the router
	TypePrflx                      // seen by the peer
	TypeRelay                      // lent by a relay
)

var typeNames = [...]string{TypeHost: "host", TypeSrflx: "srflx", TypePrflx: "prflx", TypeRelay: "relay"}

// String returns the word of the text form.
func (t CandidateType) String() string { return typeNames[t&3] }

// preference is the type preference of RFC 8445 §5.1.2.1.
func (t CandidateType) preference() uint32 { return [...]uint32{126, 100, 110, 0}[t&3] }

// Candidate is one address at which a device may be reached.
type Candidate struct {
	Foundation string         // 1 to 32 characters; only equality means something
	Component  int            // 1 to 256; ours are all 1
	TCP        bool           // else UDP
	Priority   uint32         // RFC 8445 §5.1.2
	Addr       netip.AddrPort // unmapped, without zone, port not 0
	Type       CandidateType
	TCPType    string // "passive" or "so" for TCP, "" for UDP; an active one is in Sources
}

// Offer is what one device tells the other so that a path can be found: "here is where I can be reached, and this is how
// you recognise me". It is secret: the password in it authenticates the connectivity checks.
type Offer struct {
	Ufrag    string // names the attempt in every check
	Password string // keys MESSAGE-INTEGRITY of the checks sent to this device
	Policy   Policy

	Candidates []Candidate
	// Relays are the relayed TCP addresses of this device's allocations, all passive: the other side dials them.
	Relays []netip.AddrPort
	// Sources are addresses that this device may dial from and that are not among its candidates: what its relays saw, and
	// with RelayOnly its own. The owner of a relay permits them.
	Sources []netip.Addr

	// UDPUfrag and UDPPassword are the credentials of the second ICE message, the one for UDP; empty means the same ones.
	UDPUfrag, UDPPassword string

	Network      Network // what this device knows of the network it is in
	Fingerprint  []byte  // of the certificate made for DTLS on this connection; empty without UDP
	Capabilities uint64  // what this device can do beyond version 1 of the offer
}

// OfferError says what is wrong with a peer's offer.
type OfferError struct {
	Form string // "text" or "binary"
	At   int    // line from 1, or byte offset
	What string
}

func (e *OfferError) Error() string {
	if e.Form == "text" {
		return fmt.Sprintf("ice: offer line %d: %s", e.At, e.What)
	}
	return fmt.Sprintf("ice: offer byte %d: %s", e.At, e.What)
}

// relayed returns every relayed TCP address of the offer, written either way, each once.
func (o *Offer) relayed() []netip.AddrPort {
	out := slices.Clone(o.Relays)
	for _, c := range o.Candidates {
		if c.TCP && c.Type == TypeRelay && !slices.Contains(out, c.Addr) {
			out = append(out, c.Addr)
		}
	}
	return out[:min(len(out), MaxRelays)]
}

// permits returns the addresses from which this offer's device may dial, each once: those to permit at a relay.
// What servers saw comes first, since that is what our relay will most likely see too.
//
// Loopback addresses are left out unless loopback is set, and link-local ones always: nobody dials a relay from them, and a relay that
// takes them for peers would be led to its own services (169.254.169.254).
func (o *Offer) permits(loopback bool) []netip.Addr {
	var out []netip.Addr
	add := func(a netip.Addr) {
		if a.IsLinkLocalUnicast() || a.IsLoopback() && !loopback {
			return
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, a := range o.Sources {
		add(a)
	}
	for _, c := range o.Candidates {
		add(c.Addr.Addr())
	}
	for _, r := range o.Relays {
		add(r.Addr())
	}
	return out
}

// trim drops what is beyond the limits, and repeats.
func (o *Offer) trim() {
	o.Candidates = trimCandidates(o.Candidates)
	o.Relays = once(o.Relays, MaxRelays)
	o.Sources = once(o.Sources, MaxSources)
}

func trimCandidates(in []Candidate) []Candidate {
	// Ranks by priority, ties by place; what stays keeps its place.
	rank := make([]int, len(in))
	for i := range rank {
		rank[i] = i
	}
	slices.SortStableFunc(rank, func(a, b int) int { return cmp.Compare(in[b].Priority, in[a].Priority) })
	type class struct {
		tcp bool
		typ CandidateType
	}
	limit := [...]int{TypeHost: MaxHosts, TypeSrflx: MaxReflexive, TypePrflx: MaxReflexive, TypeRelay: MaxRelays}
	count := make(map[class]int)
	keep := make([]bool, len(in))
	for _, i := range rank {
		k := class{in[i].TCP, in[i].Type}
		if k.typ == TypePrflx {
			k.typ = TypeSrflx // one limit for both
		}
		if count[k] < limit[k.typ] && !slices.Contains(in[:i], in[i]) {
			count[k]++
			keep[i] = true
		}
	}
	out := in[:0:0]
	for i, c := range in {
		if keep[i] {
			out = append(out, c)
		}
	}
	return out
}

// once keeps the first of equal values, and at most limit of them.
func once[T comparable](in []T, limit int) []T {
	out := in[:0:0]
	for _, v := range in {
		if len(out) < limit && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// priority computes RFC 8445 §5.1.2.1 for component 1; index makes the local preference unique.
func priority(t CandidateType, index int) uint32 {
	return t.preference()<<24 | uint32(0xffff-index)<<8 | (256 - 1)
}

// checkAddr says what is wrong with an address that a peer offers, or "".
func checkAddr(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "not an address"
	case a.Zone() != "":
		return "address with a zone"
	case a.IsUnspecified():
		return "unspecified address"
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "multicast or broadcast address"
	}
	return ""
}

func checkAddrPort(a netip.AddrPort) string {
	if a.Port() == 0 {
		return "port 0"
	}
	return checkAddr(a.Addr())
}

// iceChars reports whether s consists of ice-char (RFC 8839 §5.1: letters, digits, "+" and "/").
func iceChars(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

func checkUfrag(s string) string {
	if len(s) < minUfrag || len(s) > maxUfrag || !iceChars(s) {
		return "ufrag is not 4 to 32 letters, digits, + or /"
	}
	return ""
}

func checkPassword(s string) string {
	if len(s) < minPassword || len(s) > maxPassword || !iceChars(s) {
		return "password is not 22 to 64 letters, digits, + or /"
	}
	return ""
}

func checkFoundation(s string) string {
	if s == "" || len(s) > maxFoundation || !iceChars(s) {
		return "foundation is not 1 to 32 letters, digits, + or /"
	}
	return ""
}
