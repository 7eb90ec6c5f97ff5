package stun

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

const (
	// HeaderLen is the length of a STUN header: type 2, length 2, cookie 4, transaction id 12.
	HeaderLen = 2 + 2 + 4 + 12
	// Cookie is the magic cookie of RFC 8489 §5.
	Cookie = 0x2112A442
	// MaxMessage is the longest message: the header and the largest length that is a multiple of four.
	MaxMessage = HeaderLen + 0xfffc
	// DefaultPort is the port of stun: and turn: over UDP and TCP.
	DefaultPort = 3478
)

// Method is the verb of a message, 12 bits.
type Method uint16

// Methods of RFC 8489 §18.2, RFC 8656 §17 and RFC 6062 §6.1.
const (
	MethodBinding           Method = 0x001
	MethodAllocate          Method = 0x003 // request
	MethodRefresh           Method = 0x004 // request
	MethodSend              Method = 0x006 // indication, client to server
	MethodData              Method = 0x007 // indication, server to client
	MethodCreatePermission  Method = 0x008 // request
	MethodChannelBind       Method = 0x009 // request
	MethodConnect           Method = 0x00a // request
	MethodConnectionBind    Method = 0x00b // request, first on a data connection
	MethodConnectionAttempt Method = 0x00c // indication, server to client
)

// Request returns the type of a request for m.
func (m Method) Request() Type { return Type{m, ClassRequest} }

// Indication returns the type of an indication of m.
func (m Method) Indication() Type { return Type{m, ClassIndication} }

// Success returns the type of a success response to m.
func (m Method) Success() Type { return Type{m, ClassSuccess} }

// Error returns the type of an error response to m.
func (m Method) Error() Type { return Type{m, ClassError} }

// String returns the standard's name, or the number when there is none.
func (m Method) String() string {
	switch m {
	case MethodBinding:
		return "Binding"
	case MethodAllocate:
		return "Allocate"
	case MethodRefresh:
		return "Refresh"
	case MethodSend:
		return "Send"
	case MethodData:
		return "Data"
	case MethodCreatePermission:
		return "CreatePermission"
	case MethodChannelBind:
		return "ChannelBind"
	case MethodConnect:
		return "Connect"
	case MethodConnectionBind:
		return "ConnectionBind"
	case MethodConnectionAttempt:
		return "ConnectionAttempt"
	}
	return fmt.Sprintf("method 0x%03x", uint16(m))
}

// Class says whether a message asks, tells or answers, 2 bits.
type Class uint8

// Classes of RFC 8489 §5.
const (
	ClassRequest    Class = 0b00
	ClassIndication Class = 0b01
	ClassSuccess    Class = 0b10
	ClassError      Class = 0b11
)

// String returns "request", "indication", "success" or "error".
func (c Class) String() string {
	return [4]string{"request", "indication", "success", "error"}[c&3]
}

// Type is the first 14 bits of a message: method and class, interleaved on the wire.
type Type struct {
	Method Method
	Class  Class
}

// typeOf splits the first two bytes: 00 M11..M7 C1 M6..M4 C0 M3..M0 (RFC 8489 §5, figure 3).
func typeOf(v uint16) Type {
	return Type{
		Method: Method(v&0x3e00>>2 | v&0x00e0>>1 | v&0x000f),
		Class:  Class(v&0x0100>>7 | v&0x0010>>4),
	}
}

// wire is the inverse of typeOf.
func (t Type) wire() uint16 {
	m, c := uint16(t.Method), uint16(t.Class)
	return m&0x0f80<<2 | m&0x0070<<1 | m&0x000f | c&0b10<<7 | c&0b01<<4
}

// String returns for example "Allocate request".
func (t Type) String() string { return t.Method.String() + " " + t.Class.String() }

// TransactionID pairs a response with its request.
type TransactionID [12]byte

// NewTransactionID returns 96 random bits: a response is only as hard to forge as its id is hard to guess.
func NewTransactionID() (id TransactionID) {
	_, _ = rand.Read(id[:]) // never fails since Go 1.24
	return id
}

// String returns the id in hexadecimal.
func (id TransactionID) String() string { return hex.EncodeToString(id[:]) }
