package daemon

import (
	"cmp"
	"context"
	"errors"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// SendOptions are what a sender may choose for one transfer. The zero value is good.
type SendOptions struct {
	Exclude []string      `json:"exclude,omitempty"`    // patterns of what is left out of folders
	Rate    int64         `json:"rate_bps,omitempty"`   // bytes per second; 0 is as fast as it goes
	Expires time.Duration `json:"expires_ns,omitempty"` // how long it is offered to a peer that is away or does not answer; default maxQueued

	As       string `json:"as,omitempty"`        // the name that it is offered under, where one file or folder is sent
	Note     string `json:"note,omitempty"`      // words to whoever is asked whether to take it
	Priority string `json:"priority,omitempty"`  // low, normal or high: which of those that wait for a place goes first [normal]
	ReadBack bool   `json:"read_back,omitempty"` // the receiver reads it from its disk again before it says that it is stored
}

// priorities orders the words of SendOptions.Priority.
var priorities = map[string]int{"low": -1, "": 0, "normal": 0, "high": 1}

const (
	// maxQueued is how long a transfer waits to be taken when its sender did not say.
	maxQueued = 30 * 24 * time.Hour

	// maxExclude bounds the patterns of one transfer.
	maxExclude = 64
)

// errExpired is the cause of a run's end when nobody has taken the transfer in the time given.
var errExpired = cli.Errorf("E_TIMEOUT", "the transfer expired: nobody took it in the time given").Hint("offer it again: node transfers retry")

// check names the first thing that is wrong.
func (o SendOptions) check() error {
	switch {
	case o.Rate < 0 || o.Rate > 0 && o.Rate < transfer.MinRate:
		return cli.Errorf("E_USAGE", "%d bytes per second is too slow", o.Rate).Hint("the least is 16KiB")
	case transfer.CheckNote(o.Note) != nil:
		return cli.Errorf("E_USAGE", "this is not a note").Because(transfer.CheckNote(o.Note)).Hint("a note is one line of at most %d bytes", transfer.MaxNote)
	case o.As != "" && transfer.CheckName(o.As) != nil:
		return cli.Errorf("E_USAGE", "%q is not a name for a file", o.As).Because(transfer.CheckName(o.As)).Hint("a name has no / and no control characters")
	case o.Expires < 0:
		return cli.Errorf("E_USAGE", "the transfer cannot have expired already").Hint("give a time such as 2h")
	case len(o.Exclude) > maxExclude:
		return cli.Errorf("E_USAGE", "more than %d patterns", maxExclude)
	}
	if _, ok := priorities[o.Priority]; !ok {
		return cli.Errorf("E_USAGE", "a priority is low, normal or high, not %q", o.Priority)
	}
	return nil
}

// until is when a transfer that is offered now expires.
func (o SendOptions) until() time.Time { return time.Now().Add(cmp.Or(o.Expires, maxQueued)) }

// expire ends a transfer at its time, unless its body is on its way then; stop must be called.
func (d *Daemon) expire(e *entry) (stop func() bool) {
	_, keep := d.table.record(e)
	if keep.Until.IsZero() {
		return func() bool { return true }
	}
	return time.AfterFunc(time.Until(keep.Until), func() {
		if shown, _ := d.table.look(e); shown.State != StateSending && shown.State != StateVerifying {
			d.table.stop(e, errExpired)
		}
	}).Stop
}

// expired tells whether a run ended because the transfer's time was over, or may not begin because it is.
func (d *Daemon) expired(ctx context.Context, e *entry) bool {
	_, keep := d.table.record(e)
	return errors.Is(context.Cause(ctx), errExpired) || !keep.Until.IsZero() && time.Now().After(keep.Until)
}

// describe shows what was chosen.
func (o SendOptions) describe(t *Transfer) {
	t.Note = o.Note
	if o.As != "" {
		t.File = o.As
	}
	if priorities[o.Priority] != 0 {
		t.Priority = o.Priority
	}
}
