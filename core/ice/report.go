package ice

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Report is what an attempt tried, for whoever asks why a path is what it is.
type Report struct {
	Policy       Policy  // that ruled
	Ours, Theirs Network // what both ends know of their networks; Theirs is the zero value before the peer's offer has come
	Tries        []Try   // the ways to the peer, best first
	Relays       error   // why relays of ours lent nothing, joined; nil: they did, or there are none
}

// Report describes the attempt: as it was when it ended, or as it is now.
func (a *Attempt) Report() Report {
	network := a.ep.network()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.report != nil {
		return *a.report
	}
	return a.reportLocked(nil, nil, network)
}

// keepReport describes the attempt at its end, with what won: a connection, a UDP pair, or neither.
func (a *Attempt) keepReport(won *stream, pair *Pair) {
	network := a.ep.network()
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.reportLocked(won, pair, network)
	a.report = &r
}

func (a *Attempt) reportLocked(won *stream, pair *Pair, ours Network) Report {
	return Report{
		Policy: a.policy, Ours: ours, Theirs: a.remote.Network, Relays: a.RelayErr(),
		Tries: slices.Concat(a.triesLocked(won, true), a.udpTries(pair), a.leftOutLocked()),
	}
}

// triesLocked describes the legs, best first; with learnt ones also those that the peer did not offer but dialled from.
func (a *Attempt) triesLocked(won *stream, learnt bool) []Try {
	var tries []Try
	for _, l := range slices.SortedFunc(maps.Values(a.legs), func(x, y *leg) int {
		return cmp.Or(cmp.Compare(y.priority, x.priority), x.addr.Compare(y.addr))
	}) {
		if l.priority == 0 && !learnt {
			continue
		}
		t := Try{Addr: l.addr, Type: l.typ, Relayed: l.relayed, Dials: l.tries, State: l.state(), Err: l.err}
		if !l.changed.IsZero() {
			t.After = l.changed.Sub(a.began)
		}
		if s := l.stream; s != nil {
			t.Local, t.Relayed = localAddr(s.conn), s.relay.IsValid()
			if s == won {
				t.State, t.Err, t.After = "chosen", nil, time.Since(a.began)
			}
		}
		tries = append(tries, t)
	}
	return tries
}

// leftOutLocked are the peer's TCP candidates that a rule kept us from dialling.
func (a *Attempt) leftOutLocked() []Try {
	var tries []Try
	for _, c := range a.remote.Candidates {
		if c.TCP && a.legs[c.Addr] == nil {
			tries = append(tries, Try{Addr: c.Addr, Type: c.Type, State: "left out"})
		}
	}
	return tries
}
