package ice

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
)

// The text form is the documents': ICE messages of lines, one message for TCP and one for UDP, concatenated.
//
//	<ufrag>
//	<password>
//	<foundation> <component> TCP|UDP <priority> <address> <port> typ host|srflx|prflx|relay[ tcptype active|passive|so]
//	<address>:<port>            a relayed TCP address
//
// An active TCP candidate says only where its device dials from, so it becomes one of Sources, and Sources are printed as
// active srflx candidates. Policy, capabilities and fingerprint have no place here: a text offer means auto and none.

// discardPort stands in active candidates, which cannot be dialled (RFC 6544 §4.5).
const discardPort = 9

// AppendText appends the text form.
func (o Offer) AppendText(dst []byte) []byte {
	dst = fmt.Appendf(dst, "%s\n%s\n", o.Ufrag, o.Password)
	udp := false
	for _, c := range o.Candidates {
		if c.TCP {
			dst = appendCandidateText(dst, c)
		}
		udp = udp || !c.TCP
	}
	for i, a := range o.Sources {
		dst = appendCandidateText(dst, Candidate{
			Foundation: foundation(TypeSrflx, a), Component: 1, TCP: true, Priority: priority(TypeSrflx, i),
			Addr: netip.AddrPortFrom(a, discardPort), Type: TypeSrflx, TCPType: "active",
		})
	}
	for _, r := range o.Relays {
		dst = fmt.Appendf(dst, "%v\n", r)
	}
	if !udp && o.UDPUfrag == "" {
		return dst
	}
	ufrag, password := o.udpCredentials()
	dst = fmt.Appendf(dst, "%s\n%s\n", ufrag, password)
	for _, c := range o.Candidates {
		if !c.TCP {
			dst = appendCandidateText(dst, c)
		}
	}
	return dst
}

func (o *Offer) udpCredentials() (ufrag, password string) {
	if o.UDPUfrag == "" {
		return o.Ufrag, o.Password
	}
	return o.UDPUfrag, o.UDPPassword
}

func appendCandidateText(dst []byte, c Candidate) []byte {
	transport := "UDP"
	if c.TCP {
		transport = "TCP"
	}
	dst = fmt.Appendf(dst, "%s %d %s %d %v %d typ %s", c.Foundation, c.Component, transport, c.Priority, c.Addr.Addr(), c.Addr.Port(), c.Type)
	if c.TCP {
		dst = fmt.Appendf(dst, " tcptype %s", c.TCPType)
	}
	return append(dst, '\n')
}

// foundation follows the documents: a letter for the type, then the base address in hex, or a hash of it for IPv6.
func foundation(t CandidateType, a netip.Addr) string {
	letter := "HSPR"[t]
	if a.Is4() {
		return fmt.Sprintf("%c%x", letter, a.As4())
	}
	h := fnv.New32a()
	b := a.As16()
	h.Write(b[:])
	return fmt.Sprintf("%c%x", letter, h.Sum32())
}

// ParseText parses the text form. Candidates beyond the limits are dropped.
func ParseText(text []byte) (Offer, error) {
	if len(text) > MaxOfferText {
		return Offer{}, &OfferError{"text", 1, fmt.Sprintf("longer than %d bytes", MaxOfferText)}
	}
	p := textParser{lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")}
	if err := p.message(&p.first); err != nil {
		return Offer{}, err
	}
	if p.at < len(p.lines) {
		p.two = true
		if err := p.message(&p.second); err != nil {
			return Offer{}, err
		}
	}
	if p.at < len(p.lines) {
		return Offer{}, p.fail("a third message")
	}
	return p.join()
}

// textParser reads messages off lines.
type textParser struct {
	lines         []string
	at            int // next line, from 0
	first, second textMessage
	two           bool
}

type textMessage struct {
	line            int // where it began, from 1
	ufrag, password string
	tcp, udp        []Candidate
	sources         []netip.Addr
	relays          []netip.AddrPort
}

func (m *textMessage) forTCP() bool { return len(m.tcp)+len(m.sources)+len(m.relays) > 0 }

func (p *textParser) fail(what string) error { return &OfferError{"text", p.at + 1, what} }

// message reads one ICE message; it ends before a line that is neither a candidate nor a relay.
func (p *textParser) message(m *textMessage) error {
	m.line = p.at + 1
	m.ufrag = strings.TrimSuffix(p.lines[p.at], "\r")
	if what := checkUfrag(m.ufrag); what != "" {
		return p.fail(what)
	}
	if p.at++; p.at == len(p.lines) {
		return p.fail("no password line")
	}
	m.password = strings.TrimSuffix(p.lines[p.at], "\r")
	if what := checkPassword(m.password); what != "" {
		return p.fail(what)
	}
	for p.at++; p.at < len(p.lines); p.at++ {
		fields := strings.Fields(p.lines[p.at])
		if len(fields) == 1 && !strings.Contains(fields[0], ":") {
			return nil // the next message's ufrag
		}
		if what := m.take(fields); what != "" {
			return p.fail(what)
		}
	}
	return nil
}

// take reads one line behind the credentials, and says what is wrong with it.
func (m *textMessage) take(fields []string) string {
	if len(fields) == 1 {
		r, err := netip.ParseAddrPort(fields[0])
		if err != nil {
			return "neither a candidate nor address:port of a relay"
		}
		r = netip.AddrPortFrom(r.Addr().Unmap(), r.Port())
		if what := checkAddrPort(r); what != "" {
			return "relay: " + what
		}
		m.relays = append(m.relays, r)
		return ""
	}
	c, what := parseCandidate(fields)
	switch {
	case what != "":
		return what
	case c.TCPType == "active":
		m.sources = append(m.sources, c.Addr.Addr())
	case c.TCP:
		m.tcp = append(m.tcp, c)
	default:
		m.udp = append(m.udp, c)
	}
	if len(m.udp) > 0 && m.forTCP() {
		return "TCP and UDP in one message"
	}
	return ""
}

func parseCandidate(f []string) (c Candidate, what string) {
	if len(f) != 8 && len(f) != 10 || f[6] != "typ" || len(f) == 10 && f[8] != "tcptype" {
		return c, "not of the form: foundation component transport priority address port typ type [tcptype type]"
	}
	c.Foundation = f[0]
	if what := checkFoundation(c.Foundation); what != "" {
		return c, what
	}
	component, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil || component < 1 || component > 256 {
		return c, "component is not 1 to 256"
	}
	c.Component = int(component)
	switch f[2] {
	case "TCP":
		c.TCP = true
	case "UDP":
	default:
		return c, "transport is neither TCP nor UDP"
	}
	prio, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return c, "priority is not a 32-bit number"
	}
	c.Priority = uint32(prio)
	addr, err := netip.ParseAddr(f[4])
	if err != nil {
		return c, "not an address"
	}
	port, err := strconv.ParseUint(f[5], 10, 16)
	if err != nil {
		return c, "port is not a 16-bit number"
	}
	c.Addr = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	if what := checkAddrPort(c.Addr); what != "" {
		return c, what
	}
	switch f[7] {
	case "host":
		c.Type = TypeHost
	case "srflx":
		c.Type = TypeSrflx
	case "prflx":
		c.Type = TypePrflx
	case "relay":
		c.Type = TypeRelay
	default:
		return c, "candidate type is none of host, srflx, prflx, relay"
	}
	if c.TCP != (len(f) == 10) {
		return c, "tcptype stands with TCP and only there"
	}
	if c.TCP {
		if !isTCPType(f[9]) {
			return c, "tcptype is none of active, passive, so"
		}
		c.TCPType = f[9]
	}
	return c, ""
}

func isTCPType(s string) bool { return s == "active" || s == "passive" || s == "so" }

// join makes one Offer of the messages, whichever comes first.
func (p *textParser) join() (Offer, error) {
	tcp, udp := &p.first, &p.second
	if len(p.first.udp) > 0 || p.two && p.second.forTCP() {
		tcp, udp = udp, tcp
	}
	if !p.two {
		// The only message: its credentials are everybody's.
		o := Offer{Ufrag: p.first.ufrag, Password: p.first.password, Candidates: append(p.first.tcp, p.first.udp...)}
		o.Relays, o.Sources = p.first.relays, p.first.sources
		o.trim()
		return o, nil
	}
	if udp.forTCP() || len(tcp.udp) > 0 {
		return Offer{}, &OfferError{"text", p.second.line, "two messages for one transport"}
	}
	o := Offer{Ufrag: tcp.ufrag, Password: tcp.password, Candidates: append(tcp.tcp, udp.udp...)}
	o.Relays, o.Sources = tcp.relays, tcp.sources
	if udp.ufrag != tcp.ufrag || udp.password != tcp.password {
		o.UDPUfrag, o.UDPPassword = udp.ufrag, udp.password
	}
	o.trim()
	return o, nil
}
