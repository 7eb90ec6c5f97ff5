package ice

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// The binary form, version 1 (docs/protocol/offer.md has the same and test vectors):
//
//	version   u8    1
//	policy    u8    0 auto, 1 direct-only, 2 relay-only
//	ufrag     u8 length 4..32, bytes
//	password  u8 length 22..64, bytes
//	records   u8 type, u8 length, value; until the end
//
// Numbers are in network order. A record of unknown type is skipped below 0x80 and refuses the offer from 0x80 on.
const (
	offerVersion = 1

	recordCandidate    = 0x01 // kind u8, component-1 u8, priority u32, port u16, address 4|16, foundation 1..32
	recordRelay        = 0x02 // port u16, address 4|16
	recordSource       = 0x03 // address 4|16
	recordCapabilities = 0x04 // 1..8 bytes, the first one not 0
	recordFingerprint  = 0x05 // 32..64 bytes
	recordUDP          = 0x06 // u8 length, ufrag, password: of the second ICE message
	recordNetwork      = 0x07 // 1 byte, not 0: bits of Network
	recordCritical     = 0x80 // from here on
)

// Bits of a candidate's kind.
const (
	kindIPv6      = 1 << 0
	kindUDP       = 1 << 1
	kindTypeShift = 2 // two bits: CandidateType
	kindTCPShift  = 4 // two bits: index in tcpTypes
	kindUnused    = 0xc0
)

// tcpTypes has no "active": those are Sources.
var tcpTypes = [...]string{1: "passive", 2: "so"}

// AppendBinary appends the compact form. Should it exceed MaxOfferBytes, candidates are left out, lowest priority first.
func (o Offer) AppendBinary(dst []byte) []byte {
	start := len(dst)
	for {
		dst = o.appendBinary(dst[:start])
		if len(dst)-start <= MaxOfferBytes || len(o.Candidates) == 0 {
			return dst
		}
		worst := 0
		for i, c := range o.Candidates {
			if c.Priority <= o.Candidates[worst].Priority {
				worst = i
			}
		}
		o.Candidates = slices.Delete(slices.Clone(o.Candidates), worst, worst+1)
	}
}

func (o *Offer) appendBinary(dst []byte) []byte {
	dst = append(dst, offerVersion, byte(o.Policy))
	dst = append(append(dst, byte(len(o.Ufrag))), o.Ufrag...)
	dst = append(append(dst, byte(len(o.Password))), o.Password...)
	for _, c := range o.Candidates {
		dst = appendCandidateBinary(dst, c)
	}
	for _, r := range o.Relays {
		dst = append(dst, recordRelay, byte(2+r.Addr().BitLen()/8))
		dst = binary.BigEndian.AppendUint16(dst, r.Port())
		dst = append(dst, r.Addr().AsSlice()...)
	}
	for _, a := range o.Sources {
		dst = append(dst, recordSource, byte(a.BitLen()/8))
		dst = append(dst, a.AsSlice()...)
	}
	if o.Capabilities != 0 {
		b := binary.BigEndian.AppendUint64(nil, o.Capabilities)
		for b[0] == 0 {
			b = b[1:]
		}
		dst = append(append(dst, recordCapabilities, byte(len(b))), b...)
	}
	if len(o.Fingerprint) > 0 {
		dst = append(append(dst, recordFingerprint, byte(len(o.Fingerprint))), o.Fingerprint...)
	}
	if o.UDPUfrag != "" {
		dst = append(dst, recordUDP, byte(1+len(o.UDPUfrag)+len(o.UDPPassword)), byte(len(o.UDPUfrag)))
		dst = append(append(dst, o.UDPUfrag...), o.UDPPassword...)
	}
	if b := o.Network.bits(); b != 0 {
		dst = append(dst, recordNetwork, 1, b)
	}
	return dst
}

func appendCandidateBinary(dst []byte, c Candidate) []byte {
	kind := byte(c.Type) << kindTypeShift
	if c.Addr.Addr().Is6() {
		kind |= kindIPv6
	}
	if c.TCP {
		kind |= byte(slices.Index(tcpTypes[:], c.TCPType)) << kindTCPShift
	} else {
		kind |= kindUDP
	}
	ip := c.Addr.Addr().AsSlice()
	dst = append(dst, recordCandidate, byte(1+1+4+2+len(ip)+len(c.Foundation)), kind, byte(c.Component-1))
	dst = binary.BigEndian.AppendUint32(dst, c.Priority)
	dst = binary.BigEndian.AppendUint16(dst, c.Addr.Port())
	return append(append(dst, ip...), c.Foundation...)
}

// ParseBinary parses the compact form. Candidates beyond the limits are dropped.
func ParseBinary(b []byte) (Offer, error) {
	p := binaryParser{whole: len(b), rest: b}
	o, what := p.offer()
	if what != "" {
		return Offer{}, &OfferError{"binary", p.at, what}
	}
	o.trim()
	return o, nil
}

// binaryParser walks the bytes. at is where the thing being read begins.
type binaryParser struct {
	whole int
	rest  []byte
	at    int
}

// take returns the next n bytes.
func (p *binaryParser) take(n int) (b []byte, ok bool) {
	p.at = p.whole - len(p.rest)
	if n > len(p.rest) {
		return nil, false
	}
	b, p.rest = p.rest[:n], p.rest[n:]
	return b, true
}

// short takes a length byte and that many bytes.
func (p *binaryParser) short() (b []byte, ok bool) {
	n, ok := p.take(1)
	if !ok {
		return nil, false
	}
	return p.take(int(n[0]))
}

func (p *binaryParser) offer() (o Offer, what string) {
	if p.whole > MaxOfferBytes {
		return o, fmt.Sprintf("longer than %d bytes", MaxOfferBytes)
	}
	head, ok := p.take(2)
	switch {
	case !ok:
		return o, "too short"
	case head[0] != offerVersion:
		return o, fmt.Sprintf("version %d is not known", head[0])
	case int(head[1]) >= len(policyNames):
		return o, fmt.Sprintf("policy %d is not known", head[1])
	}
	o.Policy = Policy(head[1])
	ufrag, ok := p.short()
	if o.Ufrag = string(ufrag); !ok || checkUfrag(o.Ufrag) != "" {
		return o, checkUfrag(o.Ufrag)
	}
	password, ok := p.short()
	if o.Password = string(password); !ok || checkPassword(o.Password) != "" {
		return o, checkPassword(o.Password)
	}
	for len(p.rest) > 0 {
		at := p.whole - len(p.rest)
		typ, _ := p.take(1)
		value, ok := p.short()
		p.at = at
		if !ok {
			return o, "record is cut off"
		}
		if what := o.record(typ[0], value); what != "" {
			return o, what
		}
	}
	return o, ""
}

// record takes one record, and says what is wrong with it.
func (o *Offer) record(typ byte, v []byte) string {
	switch typ {
	case recordCandidate:
		c, what := parseCandidateBinary(v)
		if what != "" {
			return what
		}
		o.Candidates = append(o.Candidates, c)
	case recordRelay:
		if len(v) < 2 {
			return "relay is too short"
		}
		addr, _ := netip.AddrFromSlice(v[2:])
		r := netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(v))
		if what := checkAddrPort(r); what != "" {
			return "relay: " + what
		}
		o.Relays = append(o.Relays, r)
	case recordSource:
		addr, _ := netip.AddrFromSlice(v)
		if what := checkAddr(addr.Unmap()); what != "" {
			return "source: " + what
		}
		o.Sources = append(o.Sources, addr.Unmap())
	case recordCapabilities:
		if o.Capabilities != 0 || len(v) < 1 || len(v) > 8 || v[0] == 0 {
			return "capabilities are not one number without leading zeros"
		}
		for _, b := range v {
			o.Capabilities = o.Capabilities<<8 | uint64(b)
		}
	case recordFingerprint:
		if o.Fingerprint != nil || len(v) < minPrint || len(v) > maxPrint {
			return "fingerprint is not one of 32 to 64 bytes"
		}
		o.Fingerprint = slices.Clone(v)
	case recordUDP:
		return o.recordUDP(v)
	case recordNetwork:
		if o.Network != (Network{}) || len(v) != 1 || v[0] == 0 {
			return "network is not one byte with something in it"
		}
		o.Network = networkOf(v[0])
	default:
		if typ >= recordCritical {
			return fmt.Sprintf("critical record %#x is not known", typ)
		}
	}
	return ""
}

func (o *Offer) recordUDP(v []byte) string {
	if o.UDPUfrag != "" || len(v) < 1 || int(v[0]) > len(v)-1 {
		return "credentials for UDP are cut off or repeated"
	}
	ufrag, password := string(v[1:1+v[0]]), string(v[1+v[0]:])
	if what := checkUfrag(ufrag); what != "" {
		return what
	}
	if what := checkPassword(password); what != "" {
		return what
	}
	if ufrag != o.Ufrag || password != o.Password {
		o.UDPUfrag, o.UDPPassword = ufrag, password
	}
	return ""
}

func parseCandidateBinary(v []byte) (c Candidate, what string) {
	ip := 4
	if len(v) > 0 && v[0]&kindIPv6 != 0 {
		ip = 16
	}
	if len(v) < 1+1+4+2+ip+1 {
		return c, "candidate is too short"
	}
	kind := v[0]
	c.TCP = kind&kindUDP == 0
	tcpType := int(kind >> kindTCPShift & 3)
	if kind&kindUnused != 0 || tcpType >= len(tcpTypes) || c.TCP != (tcpType != 0) {
		return c, "candidate of unknown kind"
	}
	if c.TCP {
		c.TCPType = tcpTypes[tcpType]
	}
	c.Type = CandidateType(kind >> kindTypeShift & 3)
	c.Component = 1 + int(v[1])
	c.Priority = binary.BigEndian.Uint32(v[2:])
	addr, _ := netip.AddrFromSlice(v[8 : 8+ip])
	c.Addr = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(v[6:]))
	if what := checkAddrPort(c.Addr); what != "" {
		return c, what
	}
	c.Foundation = string(v[8+ip:])
	return c, checkFoundation(c.Foundation)
}
