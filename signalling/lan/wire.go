package lan

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// hint is what the recipient knows a caller by, for an hour.
type hint [16]byte

const (
	hintLabel = "traverse lan"
	suffix    = "._traverse._udp.local."
	ttl       = 10 // seconds; nobody shall keep it
	maxQuery  = 512
)

// labels are of lower case, as DNS compares without case.
var labels = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func hintOf(secret [32]byte, sender, recipient identity.DeviceID, hour int64) (h hint) {
	info := append([]byte(hintLabel), sender[:]...)
	info = append(info, recipient[:]...)
	info = binary.BigEndian.AppendUint64(info, uint64(hour))
	key, err := hkdf.Key(sha256.New, secret[:], nil, string(info), len(h))
	if err != nil {
		panic(err) // 16 bytes are never too many
	}
	return hint(key)
}

// hoursAt are those in which clocks that are wrong by signalling.Skew may be.
func hoursAt(now time.Time) []int64 {
	first, last := now.Add(-signalling.Skew).Unix()/3600, now.Add(signalling.Skew).Unix()/3600
	if first == last {
		return []int64{first}
	}
	return []int64{first, last}
}

func nameOf(h hint) string { return labels.EncodeToString(h[:]) + suffix }

func parseName(s string) (h hint, ok bool) {
	s, ok = strings.CutSuffix(strings.ToLower(s), suffix)
	if !ok || len(s) != labels.EncodedLen(len(h)) {
		return h, false
	}
	b, err := labels.DecodeString(s)
	if err != nil || labels.EncodeToString(b) != s {
		return h, false
	}
	return hint(b), true
}

// appendQuery asks for the SRV record of a hint.
func appendQuery(h hint, id uint16) ([]byte, error) {
	q, err := question(h)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id}, Questions: []dnsmessage.Question{q}}
	return m.Pack()
}

func question(h hint) (dnsmessage.Question, error) {
	name, err := dnsmessage.NewName(nameOf(h))
	return dnsmessage.Question{Name: name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET}, err
}

// parseQuery returns the hint that a query asks for first; other questions on the link are none of ours.
func parseQuery(b []byte) (h hint, id uint16, ok bool) {
	if len(b) > maxQuery {
		return h, 0, false
	}
	var p dnsmessage.Parser
	head, err := p.Start(b)
	if err != nil || head.Response {
		return h, 0, false
	}
	q, err := p.Question()
	if err != nil || q.Type != dnsmessage.TypeSRV {
		return h, 0, false
	}
	h, ok = parseName(q.Name.String())
	return h, head.ID, ok
}

// appendReply says on which port the recipient listens; its address is the one that the reply comes from.
func appendReply(h hint, id, port uint16) ([]byte, error) {
	q, err := question(h)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, Authoritative: true},
		Questions: []dnsmessage.Question{q}, // RFC 6762 §6.7: an asker from another port than 5353 wants its own back
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.SRVResource{Port: port, Target: q.Name},
		}},
	}
	return m.Pack()
}

func parseReply(b []byte) (h hint, id, port uint16, ok bool) {
	if len(b) > maxQuery {
		return h, 0, 0, false
	}
	var p dnsmessage.Parser
	head, err := p.Start(b)
	if err != nil || !head.Response || p.SkipAllQuestions() != nil {
		return h, 0, 0, false
	}
	a, err := p.AnswerHeader()
	if err != nil || a.Type != dnsmessage.TypeSRV {
		return h, 0, 0, false
	}
	srv, err := p.SRVResource()
	if err != nil || srv.Port == 0 {
		return h, 0, 0, false
	}
	h, ok = parseName(a.Name.String())
	return h, head.ID, srv.Port, ok
}

// A datagram carries a sealed message. Its first byte is none that a DNS message of ours begins with: they are told apart
// by the whole magic.
//
//	"TLAN" | kind 1 | hint 16 | tag 8 | sealed, none in a receipt
type datagram struct {
	kind   kind
	hint   hint
	tag    tag
	sealed []byte
}

type kind byte

type tag [8]byte

const (
	kindRequest kind = 1
	kindReceipt kind = 2
	kindAnswer  kind = 3

	magic       = "TLAN"
	headLen     = len(magic) + 1 + len(hint{}) + len(tag{})
	maxDatagram = 1400
)

func appendDatagram(dst []byte, g datagram) []byte {
	dst = append(append(dst, magic...), byte(g.kind))
	dst = append(append(dst, g.hint[:]...), g.tag[:]...)
	return append(dst, g.sealed...)
}

func parseDatagram(b []byte) (g datagram, ok bool) {
	if len(b) < headLen || len(b) > maxDatagram || string(b[:len(magic)]) != magic {
		return g, false
	}
	g.kind = kind(b[len(magic)])
	g.hint = hint(b[len(magic)+1:])
	g.tag = tag(b[len(magic)+1+len(g.hint):])
	g.sealed = b[headLen:]
	return g, g.kind >= kindRequest && g.kind <= kindAnswer && (len(g.sealed) == 0) == (g.kind == kindReceipt)
}
