package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"traverse.internal/core/stun"
)

// attr adds something to a request.
type attr func(*stun.Builder)

func with(t stun.AttrType, value ...byte) attr {
	return func(b *stun.Builder) { b.Add(t, value) }
}

func withTransport(n byte) attr { return with(stun.AttrRequestedTransport, n, 0, 0, 0) }

func withLifetime(seconds uint32) attr {
	return func(b *stun.Builder) { b.AddUint32(stun.AttrLifetime, seconds) }
}

func withFamily(f stun.Family) attr { return with(stun.AttrRequestedAddressFamily, byte(f), 0, 0, 0) }

func withAdditional(f stun.Family) attr {
	return with(stun.AttrAdditionalAddressFamily, byte(f), 0, 0, 0)
}

func withPeer(a netip.AddrPort) attr {
	return func(b *stun.Builder) { b.AddXORAddr(stun.AttrXORPeerAddress, a) }
}

func withChannel(n uint16) attr { return func(b *stun.Builder) { b.AddChannelNumber(n) } }

func withData(data []byte) attr { return with(stun.AttrData, data...) }

func withConnection(id uint32) attr {
	return func(b *stun.Builder) { b.AddUint32(stun.AttrConnectionID, id) }
}

func withToken(token []byte) attr { return with(stun.AttrReservationToken, token...) }

var (
	udpRelay     = withTransport(17)
	tcpRelay     = withTransport(6)
	evenPort     = with(stun.AttrEvenPort, 0)
	evenPair     = with(stun.AttrEvenPort, 0x80)
	dontFragment = with(stun.AttrDontFragment)
	// brokenPeer is XOR-PEER-ADDRESS of a family that does not exist.
	brokenPeer = with(stun.AttrXORPeerAddress, 0, 3, 1, 2, 3, 4, 5, 6)
)

// Attributes that exist nowhere: one to be understood, one that may be ignored; and those that only a check names.
const (
	unknownRequired stun.AttrType = 0x7ffd
	unknownOptional stun.AttrType = 0xbffd
	attrOrigin      stun.AttrType = 0x802b // RESPONSE-ORIGIN
	attrOther       stun.AttrType = 0x802c // OTHER-ADDRESS
	attrTicket      stun.AttrType = 0x8030 // MOBILITY-TICKET
)

// build returns a message without credentials.
func build(t stun.Type, attrs ...attr) []byte {
	b := stun.New(nil, t, stun.NewTransactionID())
	for _, add := range attrs {
		add(&b)
	}
	return b.Bytes()
}

// behind appends an attribute to a finished message, where its integrity does not cover it.
func behind(raw []byte, t stun.AttrType, value ...byte) []byte {
	raw = append([]byte(nil), raw...)
	raw = binary.BigEndian.AppendUint16(raw, uint16(t))
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(value)))
	raw = append(raw, value...)
	for len(raw)%4 != 0 {
		raw = append(raw, 0)
	}
	binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)-stun.HeaderLen))
	return raw
}

// channelData returns a frame as it is on UDP, without padding.
func channelData(n uint16, data []byte) []byte {
	return append(stun.AppendChannelDataHeader(nil, n, len(data)), data...)
}

// reply is what came in answer to a request.
type reply struct {
	stun.Message
	came  bool
	code  stun.ErrorCode // 0: success
	plain string         // what came instead of an answer: nothing, an end of the connection
}

func replyOf(raw []byte) reply {
	m, err := stun.Parse(raw)
	if err != nil {
		return reply{plain: err.Error()}
	}
	r := reply{Message: m, came: true}
	if m.Type().Class == stun.ClassError {
		if r.code, _, err = m.ErrorCode(); err != nil {
			return reply{plain: "an error without ERROR-CODE"}
		}
	}
	return r
}

// ok says that it is a success.
func (r reply) ok() bool { return r.came && r.code == 0 }

func (r reply) String() string {
	switch {
	case !r.came:
		return r.plain
	case r.code == 0:
		return "success"
	}
	return r.code.String()
}

// success is the code of no error.
const success stun.ErrorCode = 0

// want ends the check unless the reply is one of the codes.
func (p *probe) want(what string, r reply, codes ...stun.ErrorCode) {
	var names []string
	for _, c := range codes {
		if r.came && r.code == c {
			return
		}
		if c == success {
			names = append(names, "success")
		} else {
			names = append(names, c.String())
		}
	}
	p.failf("%s: expected %s, got %v", what, strings.Join(names, " or "), r)
}

// has ends the check unless the reply has every attribute.
func (p *probe) has(what string, r reply, types ...stun.AttrType) {
	for _, t := range types {
		if !r.came || !r.Has(t) {
			p.failf("%s: expected %v, got %s", what, t, r.attributes())
		}
	}
}

// lacks ends the check when the reply has one of the attributes.
func (p *probe) lacks(what string, r reply, types ...stun.AttrType) {
	for _, t := range types {
		if r.came && r.Has(t) {
			p.failf("%s: expected no %v, got %s", what, t, r.attributes())
		}
	}
}

// attributes lists what the reply has.
func (r reply) attributes() string {
	if !r.came {
		return r.plain
	}
	var names []string
	for t := range r.All() {
		names = append(names, t.String())
	}
	return fmt.Sprintf("%v with %s", r, strings.Join(names, ", "))
}
