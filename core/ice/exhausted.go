package ice

import "time"

// slack is what the clocks of two processes and a message between them may differ by, where one begins when the other has.
const slack = 500 * time.Millisecond

// lastCall is how long after the offerer's beginning the answerer's last try may still come. The answerer has begun before, so its dials are over when ours
// would be: where relays are among the ways they wait for the gate first, and those from a relay's port a moment longer.
//
// The answerer cannot know when the offerer begins: its answer may be in a slot for a minute. It waits as long as it may.
func (a *Attempt) lastCall() time.Duration {
	cfg := &a.ep.cfg
	wait := cfg.window + slack
	a.mu.Lock()
	defer a.mu.Unlock()
	relays := len(a.lent)+len(a.lentUDP) > 0
	for _, l := range a.legs {
		relays = relays || l.relayed
	}
	if relays {
		wait += 3 * cfg.RelayHold // of the gate's two holds, and of connectLoop
	}
	return wait
}

// exhausted reports whether nothing is under way any more, after lastCall: no dial of ours, no connection of the peer's, and no datagram that was an answer.
func (a *Attempt) exhausted() bool {
	a.mu.Lock()
	quiet := a.loops == 0 && len(a.streams) == 0 && a.spoken == nil && a.broken == nil && len(a.relaySlots) == 0
	a.mu.Unlock()
	return quiet && (a.udp == nil || !a.udp.heardAny())
}

// loopEnded is what dialLoop and connectLoop do last.
func (a *Attempt) loopEnded() {
	a.mu.Lock()
	a.loops--
	a.mu.Unlock()
	a.wakeUp()
	a.wg.Done()
}

// heardAny reports whether the peer was heard, by whichever way.
func (u *udpAgent) heardAny() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.legs {
		if l.heard {
			return true
		}
	}
	return false
}
