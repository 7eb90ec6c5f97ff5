package alloc

import "strconv"

// Verdict is a decision: OK, or the STUN error code to answer the request with.
type Verdict uint16

// The verdicts of the tables, by the section that asks for them.
const (
	OK                   Verdict = 0
	TryAlternate         Verdict = 300 // RFC 8656 §7.2: the client is to go to another server
	BadRequest           Verdict = 400 // RFC 8656 §12.2: channel or peer already bound otherwise
	Mismatch             Verdict = 437 // RFC 8656 §7.2: the 5-tuple is in use, or has no allocation
	WrongCredentials     Verdict = 441 // RFC 8656 §5: another user's allocation
	FamilyMismatch       Verdict = 443 // RFC 8656 §10.2: peer of another family than the relayed address
	ConnectionExists     Verdict = 446 // RFC 6062 §5.2
	QuotaReached         Verdict = 486 // RFC 8656 §7.2: this user, or this source, has enough
	InsufficientCapacity Verdict = 508 // RFC 8656 §7.2: the server has no more
)

// String returns "ok" or the code in decimal.
func (v Verdict) String() string {
	if v == OK {
		return "ok"
	}
	return strconv.Itoa(int(v))
}
