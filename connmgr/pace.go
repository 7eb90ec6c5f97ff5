package connmgr

import (
	"time"

	"traverse.internal/core/ice"
)

// When a relayed session tries for a direct path.
const (
	upgradeBegin = 250 * time.Millisecond // after a relayed path has come: both sides have noted the session then, and who called if both did
	upgradeAfter = 5 * time.Second        // after the first try that failed; doubled from then on. A try costs two small messages over the session
	upgradeFirst = 30 * time.Second       // after the first direct path that died; doubled twice with each
	upgradeMost  = 10 * time.Minute       // the longest pause between two tries
	deathWindow  = 10 * time.Minute       // how long a direct path's death counts
	upgradeAgain = 10 * time.Second       // the least between two tries, however often the network changes
	upgradeCalm  = time.Second            // after a change of the network: addresses come one after the other

	// probation is how long a direct path that replaced a relayed one is watched at least (mux.Session.Watch): one that swallows what it
	// is given shows that early, and the mux asks an idle one by itself only after 30 s of silence.
	probation = time.Minute
)

// Repunch is the pause between two tries for a direct path of a relayed session: First after the first one that failed [5 s], then twice as long each time,
// at most Most [10 min].
type Repunch struct{ First, Most time.Duration }

func (r Repunch) withDefaults() Repunch {
	if r.First == 0 {
		r.First = upgradeAfter
	}
	if r.Most == 0 {
		r.Most = upgradeMost
	}
	return r
}

// pace decides when to try for a direct path. It is pure: the time comes with each call.
type pace struct {
	between  Repunch       // of the configuration
	patience time.Duration // of the side that leaves the first try to the other
	next     time.Time     // of the next try, while the path is relayed
	last     time.Time     // of the last one
	fails    int           // since the last success or change of the network
	deaths   []time.Time   // of direct paths, within deathWindow; at most maxDeaths, the newest
}

// maxDeaths is as many deaths as make the pause the longest.
const maxDeaths = 6

// relayed notes that a relayed path has begun to carry the session.
func (p *pace) relayed(now time.Time) {
	p.next = now.Add(p.penalty(now) + p.patience)
}

// direct notes that a direct path has begun to.
func (p *pace) direct() { p.fails = 0 }

// died notes that a direct path has died.
func (p *pace) died(now time.Time) {
	p.forget(now)
	if len(p.deaths) == maxDeaths {
		p.deaths = p.deaths[1:]
	}
	p.deaths = append(p.deaths, now)
}

// tried notes a try, by either side, that led to nothing.
func (p *pace) tried(now time.Time) {
	p.last = now
	p.next = now.Add(max(ice.Repunch(p.fails, p.between.First, p.between.Most), p.penalty(now)) + p.patience)
	p.fails++
}

// later puts the try off, because now is not the time for it.
func (p *pace) later(now time.Time) { p.next = now.Add(p.between.First) }

// network notes that the network has changed, which is a chance. A session whose direct paths died twice of late waits all the same.
func (p *pace) network(now time.Time) {
	p.forget(now)
	if len(p.deaths) > 1 {
		return
	}
	p.fails = 0
	at := now.Add(upgradeCalm)
	if least := p.last.Add(upgradeAgain); at.Before(least) {
		at = least
	}
	if at.Before(p.next) {
		p.next = at
	}
}

// penalty is the pause that the deaths of late call for: upgradeBegin without any, 30 s, 2 min, 8 min, 10 min.
func (p *pace) penalty(now time.Time) time.Duration {
	p.forget(now)
	if n := len(p.deaths); n > 0 {
		return ice.Repunch(2*(n-1), upgradeFirst, max(p.between.Most, upgradeFirst))
	}
	return upgradeBegin
}

func (p *pace) forget(now time.Time) {
	for len(p.deaths) > 0 && now.Sub(p.deaths[0]) >= deathWindow {
		p.deaths = p.deaths[1:]
	}
}
