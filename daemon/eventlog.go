package daemon

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/identity"
)

// A contact decides how often it connects, or asks for something, but not how much is logged about it: 60 lines at once and then one every 10 s,
// 60 + 8,640 of some 250 bytes are 2 MB a day.
const (
	eventBurst = 60
	eventEvery = 10 * time.Second
)

// eventLog says which of the things that a device brings about are logged. It holds one entry a device. Safe for concurrent use.
type eventLog struct {
	mu sync.Mutex // guards the field below
	m  map[identity.DeviceID]*eventLimit
}

// maxLogged bounds the entries: 4,096 of 100 bytes. Contacts are far fewer, the keys of invitations may not be.
const maxLogged = 4096

type eventLimit struct {
	limit   *rate.Limiter
	skipped int
}

// take reports whether an event of the device is logged at now, and how many were not since the last one that was.
func (l *eventLog) take(peer identity.DeviceID, now time.Time) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.m[peer]
	if e == nil {
		if l.m == nil || len(l.m) >= maxLogged {
			l.m = map[identity.DeviceID]*eventLimit{}
		}
		e = &eventLimit{limit: rate.NewLimiter(rate.Every(eventEvery), eventBurst)}
		l.m[peer] = e
	}
	if !e.limit.AllowN(now, 1) {
		e.skipped++
		return 0, false
	}
	skipped, e.skipped = e.skipped, 0
	return skipped, true
}

// logFor logs what a device has brought about by asking for it, unless there was too much of that.
func (d *Daemon) logFor(peer identity.DeviceID, msg string, attrs ...any) {
	if !d.log.Enabled(d.ctx, slog.LevelInfo) {
		return
	}
	skipped, ok := d.asked.take(peer, time.Now())
	if !ok {
		return
	}
	if skipped > 0 {
		attrs = append(attrs, "skipped", skipped)
	}
	d.log.Info(msg, append([]any{"peer", d.contacts.NameOf(peer)}, attrs...)...)
}
