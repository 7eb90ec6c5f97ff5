package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"traverse.internal/internal/cli"
)

// How the stream of events treats its followers.
const (
	maxFollowers  = 64
	keepAlive     = 20 * time.Second // a comment, so that a follower that is gone is noticed
	followerStall = 10 * time.Second // one write; a follower that does not read for so long is cut off, and may ask again with since
)

// getEvents streams events as they happen: SSE, https://html.spec.whatwg.org/multipage/server-sent-events.html. The ring that holds them is
// everybody's, so a follower costs no memory however slow it is.
func (d *Daemon) getEvents(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	seq := d.events.newest()
	since := q.Get("since")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		since = id
	}
	if since != "" {
		n, err := strconv.ParseUint(since, 10, 64)
		if err != nil {
			reply(w, nil, cli.Errorf("E_USAGE", "since is the number of an event, not %q", since))
			return
		}
		seq = n
	}
	wanted, err := d.eventFilter(q.Get("type"), q.Get("peer"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	if d.followers.Add(1) > maxFollowers {
		d.followers.Add(-1)
		reply(w, nil, cli.Errorf("E_DENIED", "%d programs follow the events already", maxFollowers))
		return
	}
	defer d.followers.Add(-1)
	w.Header().Set("Content-Type", streamSSE)
	w.Header().Set("Cache-Control", "no-store")
	to := http.NewResponseController(w)
	put := func(format string, args ...any) error {
		_ = to.SetWriteDeadline(time.Now().Add(followerStall))
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return to.Flush()
	}
	if put(": the events of %s\n\n", d.cfg.Name) != nil {
		return
	}
	newest := d.events.newest()
	for q.Get("follow") != "no" || seq < newest {
		quiet, cancel := context.WithTimeout(r.Context(), keepAlive)
		e, err := d.events.next(quiet, seq)
		cancel()
		switch {
		case r.Context().Err() != nil:
			return
		case err != nil:
			err = put(":\n\n")
		default:
			seq = e.Seq
			if !wanted(e) {
				continue
			}
			raw, _ := json.Marshal(e)
			err = put("id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, raw)
		}
		if err != nil {
			return
		}
	}
}

// eventFilter says which events a follower wants. What it lost it is told in any case.
func (d *Daemon) eventFilter(types, peer string) (func(Event) bool, error) {
	var only []string
	known := []string{EventTransfer, EventSession, EventPath, EventContact, EventService, EventWarning}
	for t := range strings.SplitSeq(types, ",") {
		if t == "" {
			continue
		}
		if !slices.Contains(known, t) {
			return nil, cli.Errorf("E_USAGE", "there are no events of type %q", t).Hint("the types are %s", strings.Join(known, ", "))
		}
		only = append(only, t)
	}
	var devices []string
	if peer != "" {
		c, err := d.contacts.Find(peer)
		if err != nil {
			return nil, err
		}
		for _, p := range c.meant(d.self) {
			devices = append(devices, p.Device.String())
		}
	}
	return func(e Event) bool {
		return e.Type == EventLost ||
			(only == nil || slices.Contains(only, e.Type)) && (peer == "" || e.Peer != nil && slices.Contains(devices, e.Peer.Device))
	}, nil
}
