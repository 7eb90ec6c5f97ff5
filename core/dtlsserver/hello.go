package dtlsserver

import (
	"encoding/binary"
	"slices"
)

// hello is a ClientHello, its fields views of the datagram: RFC 6347 §4.2.1, RFC 5246 §7.4.1.2.
type hello struct {
	record     uint64 // number of the record it came in
	message    message
	random     []byte // 32 bytes
	session    []byte
	cookie     []byte
	suites     []byte // of two bytes each
	extensions []byte
	old        bool // of DTLS 1.0
}

// parseHello reads a datagram that begins with a whole ClientHello. Extensions are read by find.
func parseHello(datagram []byte) (h hello, ok bool) {
	r, _, ok := parseRecord(datagram)
	if !ok || r.kind != typeHandshake || r.epoch != 0 {
		return hello{}, false
	}
	m, _, ok := parseMessage(r.body)
	if !ok || m.kind != msgClientHello {
		return hello{}, false
	}
	h.record, h.message = r.sequence, m
	b := m.body
	if len(b) < 2+32 || b[0] != 0xfe {
		return hello{}, false
	}
	h.old = binary.BigEndian.Uint16(b) > version12 // versions count down
	h.random, b = b[2:34], b[34:]
	var compression []byte
	if h.session, b, ok = take8(b); !ok || len(h.session) > 32 {
		return hello{}, false
	}
	if h.cookie, b, ok = take8(b); !ok {
		return hello{}, false
	}
	if h.suites, b, ok = take16(b); !ok || len(h.suites)%2 != 0 {
		return hello{}, false
	}
	if compression, b, ok = take8(b); !ok || !slices.Contains(compression, 0) {
		return hello{}, false
	}
	if len(b) == 0 {
		return h, true
	}
	h.extensions, b, ok = take16(b)
	return h, ok && len(b) == 0
}

// Extensions that are looked at.
const (
	extGroups         = 10
	extPointFormats   = 11
	extSignatures     = 13
	extALPN           = 16
	extMasterSecret   = 23
	extRenegotiation  = 0xff01
	scsvRenegotiation = 0x00ff // a cipher suite that says the same: RFC 5746 §3.3
)

// find returns the data of an extension.
func (h *hello) find(kind uint16) (data []byte, found bool) {
	for b := h.extensions; len(b) >= 4; {
		k := binary.BigEndian.Uint16(b)
		d, rest, ok := take16(b[2:])
		if !ok {
			return nil, false
		}
		if k == kind {
			return d, true
		}
		b = rest
	}
	return nil, false
}

// fresh says whether a client that speaks of renegotiation begins, as it does with nothing in the extension: RFC 5746 §3.6.
func (h *hello) fresh() bool {
	data, found := h.find(extRenegotiation)
	return !found || len(data) == 1 && data[0] == 0
}

// uncompressed says whether the client reads points as we write them: RFC 8422 §5.1.2.
func (h *hello) uncompressed() bool {
	data, found := h.find(extPointFormats)
	if !found {
		return true
	}
	formats, _, ok := take8(data)
	return ok && slices.Contains(formats, 0)
}

// list returns the numbers of an extension that is a list of such.
func (h *hello) list(kind uint16) []byte {
	data, found := h.find(kind)
	if !found {
		return nil
	}
	list, rest, ok := take16(data)
	if !ok || len(rest) != 0 || len(list)%2 != 0 {
		return nil
	}
	return list
}

// lists says whether a list of two-byte numbers has one.
func lists(list []byte, number uint16) bool {
	for ; len(list) >= 2; list = list[2:] {
		if binary.BigEndian.Uint16(list) == number {
			return true
		}
	}
	return false
}

// protocol chooses an application protocol, RFC 7301 §3.2; false: the client wants some, and none of ours.
func (h *hello) protocol(ours []string) (string, bool) {
	data, found := h.find(extALPN)
	if !found || len(ours) == 0 {
		return "", true
	}
	names, _, ok := take16(data)
	if !ok {
		return "", false
	}
	best := len(ours)
	for len(names) > 0 {
		var name []byte
		if name, names, ok = take8(names); !ok {
			break
		}
		if i := slices.Index(ours, string(name)); i >= 0 {
			best = min(best, i)
		}
	}
	if best == len(ours) {
		return "", false
	}
	return ours[best], true
}

// take8 takes off a vector with a length of one byte.
func take8(b []byte) (vector, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	end := 1 + int(b[0])
	return b[1:end], b[end:], true
}

// take16 takes off a vector with a length of two bytes.
func take16(b []byte) (vector, rest []byte, ok bool) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil, nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:end], b[end:], true
}
