package stun

import "fmt"

// AttrType is the type of an attribute. Below 0x8000 the receiver must understand it.
type AttrType uint16

// Attributes that this package reads or writes. The comment gives the shape of the value.
const (
	AttrMappedAddress          AttrType = 0x0001 // address
	AttrChangeRequest          AttrType = 0x0003 // 32 bits: 4 another address, 2 another port
	AttrUsername               AttrType = 0x0006 // at most 508 bytes
	AttrMessageIntegrity       AttrType = 0x0008 // HMAC-SHA1, 20 bytes
	AttrErrorCode              AttrType = 0x0009 // class, number, phrase
	AttrUnknownAttributes      AttrType = 0x000a // 16-bit types
	AttrChannelNumber          AttrType = 0x000c // 16 bits, 16 reserved
	AttrLifetime               AttrType = 0x000d // seconds, 32 bits
	AttrXORPeerAddress         AttrType = 0x0012 // address, xored
	AttrData                   AttrType = 0x0013 // bytes
	AttrRealm                  AttrType = 0x0014 // at most 763 bytes
	AttrNonce                  AttrType = 0x0015 // at most 763 bytes
	AttrXORRelayedAddress      AttrType = 0x0016 // address, xored
	AttrRequestedAddressFamily AttrType = 0x0017 // family, 24 bits reserved
	AttrEvenPort               AttrType = 0x0018 // bit 7: reserve the next port
	AttrRequestedTransport     AttrType = 0x0019 // IP protocol, 24 bits reserved
	AttrDontFragment           AttrType = 0x001a // empty
	AttrMessageIntegritySHA256 AttrType = 0x001c // HMAC-SHA256, 16 to 32 bytes
	AttrPasswordAlgorithm      AttrType = 0x001d // algorithm and parameters
	AttrUserhash               AttrType = 0x001e // 32 bytes
	AttrXORMappedAddress       AttrType = 0x0020 // address, xored
	AttrReservationToken       AttrType = 0x0022 // 8 bytes
	AttrPriority               AttrType = 0x0024 // ICE, 32 bits
	AttrUseCandidate           AttrType = 0x0025 // ICE, empty
	AttrConnectionID           AttrType = 0x002a // 32 bits

	AttrAdditionalAddressFamily AttrType = 0x8000 // as REQUESTED-ADDRESS-FAMILY
	AttrAddressErrorCode        AttrType = 0x8001 // family, class, number, phrase
	AttrPasswordAlgorithms      AttrType = 0x8002 // list of algorithms and parameters
	AttrAlternateDomain         AttrType = 0x8003 // at most 255 bytes
	AttrICMP                    AttrType = 0x8004 // 16 bits reserved, type, code, 32 bits of data
	AttrSoftware                AttrType = 0x8022 // at most 763 bytes
	AttrAlternateServer         AttrType = 0x8023 // address
	AttrFingerprint             AttrType = 0x8028 // CRC-32, xored
	AttrICEControlled           AttrType = 0x8029 // 64 bits
	AttrICEControlling          AttrType = 0x802a // 64 bits
	AttrResponseOrigin          AttrType = 0x802b // address
	AttrOtherAddress            AttrType = 0x802c // address
	AttrMobilityTicket          AttrType = 0x8030 // empty, or bytes that only the server understands
)

// attrNames holds the standard's names, and those of attributes that are only ever named in a log. It is read only.
var attrNames = map[AttrType]string{
	AttrMappedAddress:           "MAPPED-ADDRESS",
	AttrChangeRequest:           "CHANGE-REQUEST",
	AttrUsername:                "USERNAME",
	AttrMessageIntegrity:        "MESSAGE-INTEGRITY",
	AttrErrorCode:               "ERROR-CODE",
	AttrUnknownAttributes:       "UNKNOWN-ATTRIBUTES",
	AttrChannelNumber:           "CHANNEL-NUMBER",
	AttrLifetime:                "LIFETIME",
	0x0010:                      "BANDWIDTH",
	AttrXORPeerAddress:          "XOR-PEER-ADDRESS",
	AttrData:                    "DATA",
	AttrRealm:                   "REALM",
	AttrNonce:                   "NONCE",
	AttrXORRelayedAddress:       "XOR-RELAYED-ADDRESS",
	AttrRequestedAddressFamily:  "REQUESTED-ADDRESS-FAMILY",
	AttrEvenPort:                "EVEN-PORT",
	AttrRequestedTransport:      "REQUESTED-TRANSPORT",
	AttrDontFragment:            "DONT-FRAGMENT",
	0x001b:                      "ACCESS-TOKEN",
	AttrMessageIntegritySHA256:  "MESSAGE-INTEGRITY-SHA256",
	AttrPasswordAlgorithm:       "PASSWORD-ALGORITHM",
	AttrUserhash:                "USERHASH",
	AttrXORMappedAddress:        "XOR-MAPPED-ADDRESS",
	0x0021:                      "TIMER-VAL",
	AttrReservationToken:        "RESERVATION-TOKEN",
	AttrPriority:                "PRIORITY",
	AttrUseCandidate:            "USE-CANDIDATE",
	0x0026:                      "PADDING",
	0x0027:                      "RESPONSE-PORT",
	AttrConnectionID:            "CONNECTION-ID",
	AttrAdditionalAddressFamily: "ADDITIONAL-ADDRESS-FAMILY",
	AttrAddressErrorCode:        "ADDRESS-ERROR-CODE",
	AttrPasswordAlgorithms:      "PASSWORD-ALGORITHMS",
	AttrAlternateDomain:         "ALTERNATE-DOMAIN",
	AttrICMP:                    "ICMP",
	AttrSoftware:                "SOFTWARE",
	AttrAlternateServer:         "ALTERNATE-SERVER",
	AttrFingerprint:             "FINGERPRINT",
	AttrICEControlled:           "ICE-CONTROLLED",
	AttrICEControlling:          "ICE-CONTROLLING",
	AttrResponseOrigin:          "RESPONSE-ORIGIN",
	AttrOtherAddress:            "OTHER-ADDRESS",
	0x802e:                      "THIRD-PARTY-AUTHORIZATION",
	AttrMobilityTicket:          "MOBILITY-TICKET",
}

// String returns the standard's name, or the number when there is none.
func (t AttrType) String() string {
	if name, ok := attrNames[t]; ok {
		return name
	}
	return fmt.Sprintf("attribute 0x%04x", uint16(t))
}

// Required reports whether a receiver that does not know t must refuse the message (RFC 8489 §14).
func (t AttrType) Required() bool { return t < 0x8000 }

// Known reports whether t is required and one of the constants above. A server that understands less passes its own
// function to AppendUnknown.
func Known(t AttrType) bool {
	switch t {
	case AttrMappedAddress, AttrUsername, AttrMessageIntegrity, AttrErrorCode, AttrUnknownAttributes,
		AttrChannelNumber, AttrLifetime, AttrXORPeerAddress, AttrData, AttrRealm, AttrNonce, AttrXORRelayedAddress,
		AttrRequestedAddressFamily, AttrEvenPort, AttrRequestedTransport, AttrDontFragment,
		AttrMessageIntegritySHA256, AttrPasswordAlgorithm, AttrUserhash, AttrXORMappedAddress, AttrReservationToken,
		AttrPriority, AttrUseCandidate, AttrConnectionID:
		return true
	}
	return false
}

// Longest values of the attributes that are text. RFC 8489 §14: 127 characters of up to 4 bytes, and 763 for those of
// RFC 5389 that counted 6; a user name ends before 509.
const (
	MaxUsername = 508
	MaxText     = 763
	MaxDomain   = 255
)

// maxText returns the longest value allowed for t.
func maxText(t AttrType) int {
	switch t {
	case AttrUsername:
		return MaxUsername
	case AttrAlternateDomain:
		return MaxDomain
	}
	return MaxText
}
