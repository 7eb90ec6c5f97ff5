package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// watchInbox prints each offer once, those that wait already and those that come, until the command is interrupted or the node ends.
func (a *app) watchInbox(ctx context.Context, c *daemon.Client) error {
	offers := &offerLines{seen: map[string]bool{}}
	offers.waiting = func() ([]daemon.Transfer, error) {
		list, err := c.Inbox(ctx)
		return list.Transfers, err
	}
	offers.print = func(t daemon.Transfer) error {
		return a.print(t, func(w io.Writer) { printTransfers(w, []daemon.Transfer{t}) })
	}
	err := c.Raw(ctx, http.MethodGet, "/v1/events?type=transfer", nil, offers)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = cli.Errorf("E_NO_DAEMON", "the node ended").Hint("start it again: node up")
	}
	return err
}

// offerLines finds offers in the API's stream of events. The stream begins with a comment, and after that nothing is missed: what waits is asked for then, and
// again when events were lost.
type offerLines struct {
	waiting func() ([]daemon.Transfer, error)
	print   func(daemon.Transfer) error
	rest    []byte
	begun   bool
	seen    map[string]bool // offers that wait and were printed
}

func (o *offerLines) Write(p []byte) (int, error) {
	if !o.begun {
		o.begun = true
		if err := o.look(); err != nil {
			return 0, err
		}
	}
	o.rest = append(o.rest, p...)
	for {
		n, line, _ := bufio.ScanLines(o.rest, false)
		if n == 0 {
			return len(p), nil
		}
		o.rest = o.rest[n:]
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		var e daemon.Event
		err := json.Unmarshal(data, &e)
		switch {
		case err != nil:
		case e.Type == daemon.EventLost:
			err = o.look()
		case e.Transfer != nil:
			err = o.take(*e.Transfer)
		}
		if err != nil {
			return 0, err
		}
	}
}

func (o *offerLines) look() error {
	list, err := o.waiting()
	for _, t := range list {
		if err == nil {
			err = o.take(t)
		}
	}
	return err
}

func (o *offerLines) take(t daemon.Transfer) error {
	if t.Direction != "receive" {
		return nil
	}
	if t.State != daemon.StateOffered {
		delete(o.seen, t.ID)
		return nil
	}
	if o.seen[t.ID] {
		return nil
	}
	o.seen[t.ID] = true
	return o.print(t)
}
