package dtlsserver

import "encoding/binary"

const (
	version10 = 0xfeff
	version12 = 0xfefd

	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23

	recordHeader = 1 + 2 + 2 + 6 + 2 // type, version, epoch, sequence number, length: RFC 6347 §4.1
	explicitLen  = 8                 // of the nonce, RFC 5288 §3
	tagLen       = 16

	// Overhead is what a record has besides its content.
	Overhead = recordHeader + explicitLen + tagLen
	// MaxContent is the most that one record carries: RFC 6347 §4.1.1, RFC 5246 §6.2.1.
	MaxContent = 1 << 14
	// maxSequence is the last number of a record: 48 bits.
	maxSequence = 1<<48 - 1
)

// record is a view of one record in a datagram.
type record struct {
	kind     uint8
	version  uint16
	epoch    uint16
	sequence uint64
	body     []byte
}

// parseRecord takes the first record off a datagram; false: there is none, and what is left is not to be read.
func parseRecord(b []byte) (r record, rest []byte, ok bool) {
	if len(b) < recordHeader || b[1] != 0xfe {
		return record{}, nil, false
	}
	end := recordHeader + int(binary.BigEndian.Uint16(b[11:]))
	if len(b) < end {
		return record{}, nil, false
	}
	number := binary.BigEndian.Uint64(b[3:])
	return record{
		kind: b[0], version: binary.BigEndian.Uint16(b[1:]), epoch: uint16(number >> 48), sequence: number & maxSequence,
		body: b[recordHeader:end:end],
	}, b[end:], true
}

// appendRecordHeader appends the header of a record with a body of so many bytes.
func appendRecordHeader(dst []byte, kind uint8, version, epoch uint16, sequence uint64, length int) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(epoch)<<48|sequence)
	return binary.BigEndian.AppendUint16(dst, uint16(length))
}

// Handshake message types.
const (
	msgClientHello        = 1
	msgServerHello        = 2
	msgHelloVerifyRequest = 3
	msgCertificate        = 11
	msgServerKeyExchange  = 12
	msgServerHelloDone    = 14
	msgClientKeyExchange  = 16
	msgFinished           = 20

	// messageHeader is type, length, message number, and offset and length of the fragment: RFC 6347 §4.2.2.
	messageHeader = 1 + 3 + 2 + 3 + 3
)

// message is a view of one handshake message that came in one piece.
type message struct {
	kind   uint8
	number uint16
	body   []byte
	whole  []byte // with its header, as it goes into the transcript
}

// parseMessage takes the first message off a record's body; false: it is not whole, or not one.
func parseMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < messageHeader {
		return message{}, nil, false
	}
	length := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	offset := int(b[6])<<16 | int(b[7])<<8 | int(b[8])
	fragment := int(b[9])<<16 | int(b[10])<<8 | int(b[11])
	end := messageHeader + length
	if offset != 0 || fragment != length || len(b) < end {
		return message{}, nil, false
	}
	return message{kind: b[0], number: binary.BigEndian.Uint16(b[4:]), body: b[messageHeader:end], whole: b[:end]}, b[end:], true
}

// appendMessageHeader appends the header of a fragment.
func appendMessageHeader(dst []byte, kind uint8, number uint16, length, offset, fragment int) []byte {
	dst = append(dst, kind, byte(length>>16), byte(length>>8), byte(length))
	dst = binary.BigEndian.AppendUint16(dst, number)
	return append(dst, byte(offset>>16), byte(offset>>8), byte(offset), byte(fragment>>16), byte(fragment>>8), byte(fragment))
}
