package daemon

import (
	"time"

	"traverse.internal/connmgr"
)

// observe follows the sessions: a transfer whose link died is paused, not failed.
func (d *Daemon) observe(e connmgr.Event) {
	attrs := []any{"peer", d.contacts.NameOf(e.Peer)}
	if e.Route.Kind != "" {
		attrs = append(attrs, "path", e.Route.Kind, "via", e.Route.Via, "reason", string(e.Route.Reason))
	}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err.Error())
	}
	switch e.Kind {
	case connmgr.EventLinkDown:
		d.table.onSession(e.Peer, e.Session, func(t *entry) { t.paused = true })
	case connmgr.EventPath:
		attrs = append(attrs, "from", e.From.Kind)
		d.table.onSession(e.Peer, e.Session, func(t *entry) { t.shown.Path = pathOf(e.Route) })
	case connmgr.EventLinkUp:
		d.table.onSession(e.Peer, e.Session, func(t *entry) { t.paused, t.shown.Path = false, pathOf(e.Route) })
	}
	switch e.Kind {
	case connmgr.EventConnected, connmgr.EventLinkUp, connmgr.EventLinkDown, connmgr.EventEnded:
		d.seen.note(e.Peer, time.Now())
	}
	if e.Kind == connmgr.EventConnected {
		d.peerIsHere(e.Peer)
	}
	if d.metrics != nil && (e.Kind == connmgr.EventConnected || e.Kind == connmgr.EventLinkUp || e.Kind == connmgr.EventPath && e.Alive && !e.Kept) {
		d.metrics.PathSetup(e.Route.Kind, e.Setup)
	}
	d.events.publish(d.sessionEvent(e))
	skipped, ok := d.logged.take(e.Peer, e.Time)
	if !ok {
		return
	}
	if skipped > 0 {
		attrs = append(attrs, "skipped", skipped)
	}
	d.log.Info("connection", append([]any{"event", string(e.Kind)}, attrs...)...)
}
