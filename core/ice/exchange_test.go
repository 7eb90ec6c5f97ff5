package ice

import (
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// TestExchange reads as the rules of docs/protocol/offer.md, section 4: who may write what, when.
func TestExchange(t *testing.T) {
	id := func(n byte) stun.TransactionID { return stun.TransactionID{n} }
	message := func(class stun.Class, n byte, nominate bool) stun.Message {
		b := stun.New(nil, stun.Type{Method: stun.MethodBinding, Class: class}, id(n))
		if nominate {
			b.Add(stun.AttrUseCandidate, nil)
		}
		m, err := stun.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	ask := func(n byte) stun.Message { return message(stun.ClassRequest, n, false) }
	nominate := func(n byte) stun.Message { return message(stun.ClassRequest, n, true) }
	answer := func(n byte) stun.Message { return message(stun.ClassSuccess, n, false) }
	refuse := func(n byte) stun.Message { return message(stun.ClassError, n, false) }

	type step struct {
		after time.Duration // since the step before
		out   bool          // else it comes in
		m     stun.Message
		sent  bool // for out
		idle  bool // afterwards
	}
	const out, in = true, false
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a check is not repeated", []step{
			{0, out, ask(1), true, false},
			{time.Second, out, ask(2), false, false},
			{0, in, answer(1), false, true},
			{time.Second, out, ask(3), false, true},
		}},
		{"it is after 3 s without an answer, and both answers are waited for", []step{
			{0, out, ask(1), true, false},
			{askAgain, out, ask(2), true, false},
			{time.Second, out, ask(3), false, false},
			{0, in, answer(1), false, false},
			{0, in, answer(2), false, true},
		}},
		{"a refused check is asked anew", []step{
			{0, out, ask(1), true, false},
			{0, in, refuse(1), false, true},
			{0, out, ask(2), true, false},
		}},
		{"an answer to nothing changes nothing", []step{
			{0, in, answer(9), false, true},
			{0, out, ask(1), true, false},
			{0, in, answer(9), false, false},
		}},
		{"one check follows the peer's first", []step{
			{0, out, ask(1), true, false},
			{0, in, ask(101), false, false},
			{0, out, answer(101), true, false},
			{0, out, ask(2), true, false},
			{0, in, answer(1), false, false},
			{0, in, ask(102), false, false},
			{0, out, ask(3), false, false},
			{0, in, answer(2), false, true},
		}},
		{"none follows a nomination", []step{
			{0, out, ask(1), true, false},
			{0, in, answer(1), false, true},
			{0, in, nominate(101), false, true},
			{0, out, answer(101), true, true},
			{0, out, ask(2), false, true},
		}},
		{"the nomination is the last request, and goes once", []step{
			{0, out, ask(1), true, false},
			{0, in, answer(1), false, true},
			{0, out, nominate(2), true, false},
			{time.Hour, out, nominate(3), false, false},
			{0, in, ask(101), false, false},
			{0, out, answer(101), true, false},
			{0, out, ask(4), false, false},
			{0, in, answer(2), false, true},
			{time.Hour, out, ask(5), false, true},
		}},
	} {
		var x exchange
		now := time.Now()
		for i, s := range c.steps {
			now = now.Add(s.after)
			if s.out {
				if sent := x.send(now, s.m); sent != s.sent {
					t.Errorf("%s: step %d: sent %v, want %v", c.name, i, sent, s.sent)
				}
			} else {
				x.receive(s.m)
			}
			if x.idle() != s.idle {
				t.Errorf("%s: step %d: idle %v, want %v", c.name, i, x.idle(), s.idle)
			}
		}
		x.over = true
		if x.send(now, answer(200)) || x.send(now.Add(time.Hour), nominate(201)) {
			t.Errorf("%s: something was written after the hand-over", c.name)
		}
	}
}
