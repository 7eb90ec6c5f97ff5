package daemon

import (
	"context"
	"errors"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// startTransfers goes on with what was in progress when the daemon ended.
func (d *Daemon) startTransfers() {
	for _, e := range d.table.all() {
		shown, keep := d.table.record(e)
		switch {
		case shown.State.Ended():
			if keep.Tell {
				d.startTelling(e)
			}
			if shown.State == StateDone && shown.SHA3 == "" {
				d.sums.add(shown.ID)
			}
		case shown.State == StateQueued && shown.Direction == "send":
			d.startSending(e, nil)
		case shown.State == StateQueued && keep.Get != nil:
			d.startGet(e)
		}
	}
}

// peerIsHere is for a new session with a device, or its word that it is there: what waits for it goes on. It returns how much that was.
func (d *Daemon) peerIsHere(peer identity.DeviceID) (woken int) {
	for _, e := range d.table.of(peer.String(), func(e *entry) bool { return !e.shown.State.Ended() || e.kept.Tell }) {
		shown, keep := d.table.record(e)
		switch {
		case keep.Tell && shown.State.Ended():
			d.startTelling(e)
		case shown.State == StateQueued && shown.Direction == "receive":
			d.startAgain(e)
		case shown.State == StateQueued:
			wakeUp(e)
		default:
			woken--
		}
		woken++
	}
	return woken
}

func wakeUp(e *entry) {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// againTimeout bounds one try to reach a sender.
const againTimeout = time.Minute

// startAgain asks the sender of a transfer to offer it again. Where it is not there, it comes by itself, or a session with it is the next try.
func (d *Daemon) startAgain(e *entry) {
	d.spawn(func() {
		ctx, cancel := context.WithTimeout(d.ctx, againTimeout)
		defer cancel()
		shown, _ := d.table.look(e)
		to, err := identity.ParseDeviceID(shown.Peer.Device)
		if err != nil || d.table.running(e) {
			return
		}
		if ch, _, err := d.manager.Connect(ctx, to, transfer.AgainName(shown.ID)); err == nil {
			_ = ch.Close()
		}
	})
}

// againTask is the sender's side of that.
func (d *Daemon) againTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return
	}
	_ = ch.Close()
	id, _ := transfer.ParseAgainName(in.Name)
	e := d.table.byID(id)
	if e == nil {
		return
	}
	shown, _ := d.table.look(e)
	if shown.Direction != "send" || shown.Peer.Device != in.Peer.String() {
		return
	}
	switch {
	case shown.State == StateQueued:
		wakeUp(e)
	case shown.State == StatePaused && shown.PausedBy == "peer":
		d.table.update(e, func(e *entry) { e.shown.State, e.shown.PausedBy = StateQueued, "" })
		d.startSending(e, nil)
	case shown.State == StateFailed: // the receiver had no room, and has now
		d.table.reopen(e, func(e *entry) { e.shown.State, e.shown.Error = StateQueued, nil })
		d.startSending(e, nil)
	}
}

// startTelling lets a peer know that a transfer is cancelled: a channel that is opened for it and reset.
func (d *Daemon) startTelling(e *entry) {
	shown, _ := d.table.look(e)
	if shown.Direction != "send" {
		return // the sender is told when it offers the transfer again
	}
	d.spawn(func() {
		ctx, cancel := context.WithTimeout(d.ctx, againTimeout)
		defer cancel()
		to, err := identity.ParseDeviceID(shown.Peer.Device)
		if err != nil {
			return
		}
		ch, _, err := d.manager.Connect(ctx, to, transfer.ChannelName(shown.ID))
		if err != nil {
			return
		}
		_ = ch.Reset(transfer.CodeCancelled, "cancelled")
		_ = ch.Close()
		d.table.reopen(e, func(e *entry) { e.kept.Tell = false })
	})
}

// Cancel ends a transfer in either direction, on both sides. What has come stays aside until it is collected.
func (d *Daemon) Cancel(id string) (Transfer, error) {
	if t, ok, err := d.onAll(id, d.Cancel); ok {
		return t, err
	}
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, keep := d.table.record(e)
	if shown.State.Ended() {
		return Transfer{}, ended(shown)
	}
	live := shown.State != StateQueued && shown.State != StatePaused
	if d.table.stop(e, errCancelledHere) {
		d.await(e, func(t Transfer) bool { return t.State.Ended() })
	}
	if shown, _ = d.table.look(e); !shown.State.Ended() {
		d.table.update(e, func(e *entry) {
			e.shown.State = StateCancelled
			e.shown.Error = cli.Errorf("E_CANCELLED", "the transfer was cancelled").Because(errCancelledHere).Hint("take it up again: node transfers retry")
		})
	}
	if shown.Direction == "receive" && d.rules.Load().accept == AcceptAsk {
		d.table.reopen(e, func(e *entry) { e.kept.Accepted = false }) // who offers it again asks again
	}
	if !live && keep.Offered {
		d.table.reopen(e, func(e *entry) { e.kept.Tell = true })
		if d.startTelling(e); shown.Direction == "receive" {
			d.startAgain(e) // a sender that waits for this side is told when it offers it again
		}
	}
	shown, _ = d.table.look(e)
	return shown, nil
}

// Pause stops a transfer until somebody on this side resumes it. The other side is told.
func (d *Daemon) Pause(id string) (Transfer, error) {
	if t, ok, err := d.onAll(id, d.Pause); ok {
		return t, err
	}
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, _ := d.table.look(e)
	if shown.State.Ended() {
		return Transfer{}, ended(shown)
	}
	if d.table.stop(e, errPausedHere) {
		d.await(e, func(t Transfer) bool { return t.State.Ended() || t.PausedBy != "" })
	}
	if shown, _ = d.table.look(e); !shown.State.Ended() && shown.PausedBy != "this side" {
		d.table.update(e, func(e *entry) { e.shown.State, e.shown.PausedBy = StatePaused, "this side" })
	}
	shown, _ = d.table.look(e)
	return shown, nil
}

// Resume goes on with a transfer that is paused, or tries one that is queued now.
func (d *Daemon) Resume(id string) (Transfer, error) {
	if t, ok, err := d.onAll(id, d.Resume); ok {
		return t, err
	}
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, _ := d.table.look(e)
	switch {
	case shown.State.Ended():
		return Transfer{}, ended(shown)
	case shown.State == StateQueued, shown.PausedBy != "":
		d.goOn(e, shown)
	}
	shown, _ = d.table.look(e)
	return shown, nil
}

// goOn starts a transfer that no run has in hand.
func (d *Daemon) goOn(e *entry, shown Transfer) {
	_, keep := d.table.record(e)
	switch {
	case keep.Get != nil && (len(keep.Get.Sources) > 1 || shown.State == StateFailed):
		d.table.reopen(e, func(e *entry) { e.shown.State, e.shown.PausedBy, e.shown.Error = StateConnecting, "", nil })
		d.startGet(e)
	case shown.Direction == "receive":
		d.table.reopen(e, func(e *entry) {
			e.shown.State, e.shown.PausedBy, e.shown.Error = StateQueued, "", nil
			if !e.kept.Accepted {
				e.shown.State = StateOffered
			}
		})
		d.startAgain(e)
	case d.table.running(e):
		wakeUp(e)
	default:
		d.table.reopen(e, func(e *entry) { e.shown.State, e.shown.PausedBy, e.shown.Error = StateConnecting, "", nil })
		d.startSending(e, nil)
	}
}

// Retry takes up a transfer that failed or was cancelled. A sender looks at the files again: what has changed is sent as it is now.
func (d *Daemon) Retry(id string) (Transfer, error) {
	if t, ok, err := d.onAll(id, d.Retry); ok {
		return t, err
	}
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, keep := d.table.record(e)
	switch shown.State {
	case StateFailed, StateCancelled:
	case StateQueued, StatePaused:
		return d.Resume(id)
	default:
		return Transfer{}, cli.Errorf("E_USAGE", "the transfer %s is not one to take up again", shown.ID).
			Because(errors.New("its state is " + string(shown.State)))
	}
	if shown.Direction == "send" {
		paths := make([]string, len(keep.Paths))
		for i, p := range keep.Paths {
			paths[i] = string(p)
		}
		src, err := transfer.NewSourceWithout(keep.Options.Exclude, paths...)
		if err == nil {
			err = src.Save(d.sourcePath(shown.ID))
		}
		if err != nil {
			return Transfer{}, explain(err, shown.Peer.Name)
		}
		d.table.reopen(e, func(e *entry) {
			describe(&e.shown, src)
			keep.Options.describe(&e.shown)
			e.kept.Until = keep.Options.until()
		})
	}
	d.table.reopen(e, func(e *entry) { e.kept.Tell = false })
	d.goOn(e, shown)
	shown, _ = d.table.look(e)
	return shown, nil
}

// Collected is what `transfers gc` prints.
type Collected struct {
	cli.Envelope
	Forgotten int `json:"forgotten"` // transfers that had ended
	Removed   int `json:"removed"`   // things on the disk that nobody knew
}

// Collect forgets the transfers that have ended, with what is left of them, and removes what no transfer knows.
func (d *Daemon) Collect() Collected {
	c := Collected{Envelope: envelope("collected")}
	for _, e := range d.table.all() {
		if shown, keep := d.table.record(e); shown.State.Ended() && !keep.Tell && !d.table.running(e) {
			d.table.drop(e)
			d.forgetTransfer(shown)
			c.Forgotten++
		}
	}
	c.Removed = d.collect()
	return c
}

func ended(t Transfer) error {
	return cli.Errorf("E_USAGE", "the transfer %s has ended already", t.ID).Because(errors.New("its state is " + string(t.State)))
}

// await waits for a change that follows within a moment; a caller that sees it need not ask again.
func (d *Daemon) await(e *entry, until func(Transfer) bool) {
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	for {
		shown, changed := d.table.look(e)
		if until(shown) {
			return
		}
		select {
		case <-changed:
		case <-t.C:
			return
		}
	}
}
