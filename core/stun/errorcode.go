package stun

import "strconv"

// ErrorCode is the number in an ERROR-CODE attribute, 300 to 699.
type ErrorCode uint16

// Error codes of RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3 and RFC 8445 §7.3.1.1.
const (
	CodeTryAlternate           ErrorCode = 300
	CodeBadRequest             ErrorCode = 400
	CodeUnauthenticated        ErrorCode = 401
	CodeForbidden              ErrorCode = 403
	CodeMobilityForbidden      ErrorCode = 405
	CodeUnknownAttribute       ErrorCode = 420
	CodeAllocationMismatch     ErrorCode = 437
	CodeStaleNonce             ErrorCode = 438
	CodeFamilyNotSupported     ErrorCode = 440
	CodeWrongCredentials       ErrorCode = 441
	CodeUnsupportedTransport   ErrorCode = 442
	CodePeerFamilyMismatch     ErrorCode = 443
	CodeConnectionExists       ErrorCode = 446
	CodeConnectionFailed       ErrorCode = 447
	CodeAllocationQuotaReached ErrorCode = 486
	CodeRoleConflict           ErrorCode = 487
	CodeServerError            ErrorCode = 500
	CodeInsufficientCapacity   ErrorCode = 508
)

// Phrase returns the recommended reason phrase, or "" for a code without one.
func (c ErrorCode) Phrase() string {
	switch c {
	case CodeTryAlternate:
		return "Try Alternate"
	case CodeBadRequest:
		return "Bad Request"
	case CodeUnauthenticated:
		return "Unauthenticated"
	case CodeForbidden:
		return "Forbidden"
	case CodeMobilityForbidden:
		return "Mobility Forbidden"
	case CodeUnknownAttribute:
		return "Unknown Attribute"
	case CodeAllocationMismatch:
		return "Allocation Mismatch"
	case CodeStaleNonce:
		return "Stale Nonce"
	case CodeFamilyNotSupported:
		return "Address Family not Supported"
	case CodeWrongCredentials:
		return "Wrong Credentials"
	case CodeUnsupportedTransport:
		return "Unsupported Transport Protocol"
	case CodePeerFamilyMismatch:
		return "Peer Address Family Mismatch"
	case CodeConnectionExists:
		return "Connection Already Exists"
	case CodeConnectionFailed:
		return "Connection Timeout or Failure"
	case CodeAllocationQuotaReached:
		return "Allocation Quota Reached"
	case CodeRoleConflict:
		return "Role Conflict"
	case CodeServerError:
		return "Server Error"
	case CodeInsufficientCapacity:
		return "Insufficient Capacity"
	}
	return ""
}

// String returns for example "438 Stale Nonce".
func (c ErrorCode) String() string {
	s := strconv.Itoa(int(c))
	if p := c.Phrase(); p != "" {
		s += " " + p
	}
	return s
}
