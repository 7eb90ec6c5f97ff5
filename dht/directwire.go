package dht

// A direct datagram:
//
//	0       1       2       3        4               12
//	+-------+-------+-------+--------+---------------+----------------------+
//	| 'T'   | 1     | type  | 0      | tag (8 bytes) | what the type says   |
//	+-------+-------+-------+--------+---------------+----------------------+
//
//	type 1, request: hint (8 bytes), sealed request      916 or 1012 bytes
//	type 2, receipt: nothing                             12 bytes
//	type 3, answer:  sealed answer                       908 or 1004 bytes
//
// 'T' is 0x54: not the 'd' of the DHT's packets, and in the range that RFC 7983 leaves free, so that STUN, DTLS, TURN
// channels and RTP may share the socket.
const (
	directMagic   = 0x54
	directVersion = 1

	directRequest directType = 1
	directReceipt directType = 2
	directAnswer  directType = 3

	directHeader = 4 + 8 // magic, version, type, zero; tag
	hintLen      = 8
)

type (
	directType uint8
	tag        [8]byte // chosen by the caller, random: who does not see the request cannot answer it
	hint       [hintLen]byte
)

// datagram is a direct datagram; sealed is a view of the bytes it was parsed from.
type datagram struct {
	kind   directType
	tag    tag
	hint   hint
	sealed []byte
}

func appendDatagram(dst []byte, d datagram) []byte {
	dst = append(dst, directMagic, directVersion, byte(d.kind), 0)
	dst = append(dst, d.tag[:]...)
	if d.kind == directRequest {
		dst = append(dst, d.hint[:]...)
	}
	return append(dst, d.sealed...)
}

func parseDatagram(b []byte) (d datagram, ok bool) {
	if len(b) < directHeader || b[0] != directMagic || b[1] != directVersion || b[3] != 0 {
		return d, false
	}
	d.kind = directType(b[2])
	copy(d.tag[:], b[4:])
	b = b[directHeader:]
	switch d.kind {
	case directRequest:
		if len(b) < hintLen {
			return d, false
		}
		copy(d.hint[:], b)
		d.sealed = b[hintLen:]
	case directAnswer:
		d.sealed = b
	case directReceipt:
		return d, len(b) == 0
	default:
		return d, false
	}
	return d, sealedLen(len(d.sealed))
}
