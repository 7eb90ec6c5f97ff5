package daemon

import (
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/identity"
)

// A contact decides how often it connects, but not how much is logged about it: 60 lines at once and then one every 10 s,
// 60 + 8,640 of some 250 bytes are 2 MB a day.
const (
	eventBurst = 60
	eventEvery = 10 * time.Second
)

// eventLog says which connection events are logged. It holds one entry a contact. Only the manager's event loop uses it.
type eventLog map[identity.DeviceID]*eventLimit

type eventLimit struct {
	limit   *rate.Limiter
	skipped int
}

// take reports whether an event of the device is logged at now, and how many were not since the last one that was.
func (l eventLog) take(peer identity.DeviceID, now time.Time) (skipped int, ok bool) {
	e := l[peer]
	if e == nil {
		e = &eventLimit{limit: rate.NewLimiter(rate.Every(eventEvery), eventBurst)}
		l[peer] = e
	}
	if !e.limit.AllowN(now, 1) {
		e.skipped++
		return 0, false
	}
	skipped, e.skipped = e.skipped, 0
	return skipped, true
}
