package ice

import (
	"slices"
	"time"

	"traverse.internal/core/stun"
)

// askAgain is when a check without an answer is asked anew. TCP does not lose it, but the agent forgets a request after 4 s
// and would not know the answer to it.
const askAgain = 3 * time.Second

// exchange decides what may be written on one connection, and knows what is still to come on it. Pure state, no I/O.
//
// The agent repeats its checks as if datagrams got lost. On a stream nothing is repeated (RFC 8489 §6.2.2), so one check is
// asked until it is answered, one more follows the peer's, and the nomination is written once, as the last request. That makes the number of frames
// exact: when the answerer's own requests are answered and the nomination has come, no frame is under way any more in
// either direction that is not a response to the offerer, and the socket can be given to TLS at that very byte.
type exchange struct {
	open      []stun.TransactionID // our requests that wait for an answer
	asked     time.Time            // when the last one was written
	answered  bool                 // a request of ours was answered with success
	heard     bool                 // any check or answer came
	trigger   trigger              // the one check that may follow an answered one
	nominated bool                 // we wrote USE-CANDIDATE
	over      bool                 // handed over: not one more frame may be written
}

// trigger is about the check that answers a check (RFC 8445 §7.3.1.4). The offerer's agent nominates at once when a request
// comes on a connection that it knows to work, and else at its next tick; so the answerer gets one request of the kind.
type trigger uint8

const (
	triggerNone  trigger = iota
	triggerDue           // a check came
	triggerSpent         // and was followed by ours
)

// send reports whether m may be written now, and remembers that it was.
func (x *exchange) send(now time.Time, m stun.Message) bool {
	if x.over {
		return false
	}
	if m.Type().Class != stun.ClassRequest {
		return true
	}
	nominate := m.Has(stun.AttrUseCandidate)
	switch {
	case x.nominated:
		return false
	case nominate:
		x.nominated = true
	case x.trigger == triggerDue:
		x.trigger = triggerSpent
	case x.answered, len(x.open) > 0 && now.Sub(x.asked) < askAgain:
		return false
	}
	x.open = append(x.open, m.TransactionID())
	x.asked = now
	return true
}

// receive notes that m came.
func (x *exchange) receive(m stun.Message) {
	x.heard = true
	class := m.Type().Class
	if class == stun.ClassRequest && x.trigger == triggerNone && !m.Has(stun.AttrUseCandidate) {
		x.trigger = triggerDue
	}
	if class != stun.ClassSuccess && class != stun.ClassError {
		return
	}
	if i := slices.Index(x.open, m.TransactionID()); i >= 0 {
		x.open = slices.Delete(x.open, i, i+1)
		x.answered = x.answered || class == stun.ClassSuccess
	}
}

// idle reports whether all our requests were answered.
func (x *exchange) idle() bool { return len(x.open) == 0 }
