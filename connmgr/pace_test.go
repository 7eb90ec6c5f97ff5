package connmgr

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	want := func(t *testing.T, p *pace, next time.Duration) {
		t.Helper()
		if got := p.next.Sub(start); got != next {
			t.Errorf("next try after %v, want %v", got, next)
		}
	}
	t.Run("backs off", func(t *testing.T) {
		p := pace{between: Repunch{}.withDefaults()}
		p.relayed(at(0))
		want(t, &p, upgradeBegin)
		now := time.Duration(0)
		for _, pause := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 320 * time.Second, 10 * time.Minute, 10 * time.Minute} {
			p.tried(at(now))
			want(t, &p, now+pause)
			now += pause
		}
		p.direct()
		p.relayed(at(now))
		want(t, &p, now+upgradeBegin)
	})
	t.Run("backs off as configured", func(t *testing.T) {
		p := pace{between: Repunch{First: time.Second, Most: 3 * time.Second}.withDefaults()}
		p.relayed(at(0))
		now := time.Duration(0)
		for _, pause := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
			p.tried(at(now))
			want(t, &p, now+pause)
			now += pause
		}
		p.direct()
		p.died(at(now))
		p.relayed(at(now))
		want(t, &p, now+upgradeFirst) // a path that died is no try that failed
	})
	t.Run("does not flap", func(t *testing.T) {
		p := pace{between: Repunch{}.withDefaults()}
		now := time.Duration(0)
		for _, pause := range []time.Duration{30 * time.Second, 2 * time.Minute, 8 * time.Minute} {
			p.direct()
			p.died(at(now))
			p.relayed(at(now))
			want(t, &p, now+pause)
			now += time.Second
		}
		p.network(at(now)) // a network that comes and goes is no chance
		want(t, &p, now-time.Second+8*time.Minute)
		p.relayed(at(now + deathWindow))
		want(t, &p, now+deathWindow+upgradeBegin)
	})
	t.Run("the network changes", func(t *testing.T) {
		p := pace{between: Repunch{}.withDefaults()}
		p.tried(at(0))
		p.tried(at(time.Minute))
		p.network(at(time.Minute + time.Second))
		want(t, &p, time.Minute+upgradeAgain)
		p.network(at(90 * time.Second))
		want(t, &p, time.Minute+upgradeAgain)
	})
	t.Run("the other side begins", func(t *testing.T) {
		p := pace{between: Repunch{}.withDefaults(), patience: upgradeFirst}
		p.relayed(at(0))
		want(t, &p, upgradeFirst+upgradeBegin)
		p.network(at(0)) // but not where one's own network changed
		want(t, &p, upgradeCalm)
	})
	t.Run("deaths are few", func(t *testing.T) {
		p := pace{between: Repunch{}.withDefaults()}
		for range 100 {
			p.died(at(0))
		}
		p.relayed(at(0))
		want(t, &p, upgradeMost)
		if len(p.deaths) != maxDeaths {
			t.Errorf("%d deaths are kept, want %d", len(p.deaths), maxDeaths)
		}
	})
}
