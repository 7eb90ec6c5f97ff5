package framing

import "strconv"

// Code says in RESET and GOAWAY why a channel or the session ends. The numbers are one space for both messages; an
// unknown one is treated like CodeInternal. From CodeApplication on they are the channel's user's own.
type Code uint16

// The codes. They are wire numbers: never renumber, only add.
const (
	CodeNone         Code = 0  // nothing went wrong: a GOAWAY that ends or drains a session in good order
	CodeCancelled    Code = 1  // a user of the channel gave it up
	CodeDeclined     Code = 2  // accepted on the wire, then given up before the channel was used
	CodeTimeout      Code = 3  // a request or an operation took too long
	CodeLimit        Code = 4  // one of the peer's limits would be exceeded
	CodeProtocol     Code = 5  // malformed bytes, or right bytes at the wrong time
	CodeName         Code = 6  // the requested name is empty, too long or not UTF-8
	CodeUnknown      Code = 7  // RESUME for a session that is not here, or is not the peer's
	CodeSuperseded   Code = 8  // both called at once and the other session won (glare)
	CodeShuttingDown Code = 9  // the program or the device ends
	CodeFileChanged  Code = 10 // bytes that must be sent again are no longer to be had
	CodeNotReading   Code = 11 // the reader closed while the writer went on
	CodeUnsupported  Code = 12 // a critical field or a version that is not spoken here
	CodeFenced       Code = 13 // a link of a lower epoch than the session's
	CodeRevoked      Code = 14 // the peer's device is no longer allowed
	CodeInternal     Code = 15 // a mistake of our own

	CodeApplication Code = 0x100
)

var codeNames = [...]string{
	CodeNone: "none", CodeCancelled: "cancelled", CodeDeclined: "declined", CodeTimeout: "timeout", CodeLimit: "limit",
	CodeProtocol: "protocol error", CodeName: "bad name", CodeUnknown: "unknown session", CodeSuperseded: "superseded",
	CodeShuttingDown: "shutting down", CodeFileChanged: "file changed", CodeNotReading: "not reading",
	CodeUnsupported: "unsupported", CodeFenced: "fenced", CodeRevoked: "revoked", CodeInternal: "internal error",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	if c >= CodeApplication {
		return "application code " + strconv.Itoa(int(c))
	}
	return "code " + strconv.Itoa(int(c))
}
