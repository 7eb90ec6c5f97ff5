package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// errCancelledHere is the cause of a cancellation that somebody on this side asked for.
var errCancelledHere = errors.New("cancelled on this side")

// Send begins to send a file to a contact and returns at once. What is wrong with the file or the name is said here; all else in the transfer.
func (d *Daemon) Send(path, who string) (Transfer, error) {
	if !filepath.IsAbs(path) {
		return Transfer{}, cli.Errorf("E_USAGE", "the path %q is not absolute", path)
	}
	to, err := d.contacts.Resolve(who)
	if err != nil {
		return Transfer{}, err
	}
	src, err := transfer.NewSource(path)
	if err != nil {
		return Transfer{}, explain(err, to.Name)
	}
	id := transfer.NewID()
	ctx, cancel := context.WithCancelCause(d.ctx)
	e, err := d.table.add(Transfer{
		ID: id, Direction: "send", State: StateConnecting, Peer: PeerRef{to.Name, to.Device.String()}, File: src.Name(), Size: src.Size(),
	}, new(transfer.Progress), cancel)
	if err != nil {
		cancel(nil)
		src.Close()
		return Transfer{}, err
	}
	d.tasks.Go(func() {
		defer cancel(nil)
		defer src.Close()
		d.sendTask(ctx, e, src, id, to.Device)
	})
	shown, _ := d.table.look(e)
	return shown, nil
}

// sendTask opens the channel, offers the file and sends it.
func (d *Daemon) sendTask(ctx context.Context, e *entry, src *transfer.Source, id string, to identity.DeviceID) {
	ch, info, err := d.manager.Connect(ctx, to, transfer.ChannelName(id))
	if err != nil {
		d.end(ctx, e, err)
		return
	}
	d.table.update(e, func(e *entry) {
		e.shown.State, e.shown.Path, e.session = StateOffered, pathOf(info.Route), info.SessionID
	})
	_, err = transfer.Send(ctx, ch, src, transfer.SendOptions{ID: id, Progress: e.progress, Counters: &d.counters})
	d.end(ctx, e, err)
}

// end notes how a transfer ended.
func (d *Daemon) end(ctx context.Context, e *entry, err error) {
	d.table.update(e, func(e *entry) {
		e.paused = false
		switch {
		case err == nil:
			e.shown.State = StateDone
			return
		case errors.Is(err, transfer.ErrDeclined):
			e.shown.State = StateDeclined
		case errors.Is(err, transfer.ErrCancelled), errors.Is(context.Cause(ctx), errCancelledHere):
			e.shown.State = StateCancelled
		default:
			e.shown.State = StateFailed
		}
		e.shown.Error = explain(err, e.shown.Peer.Name)
		if e.shown.State == StateCancelled {
			e.shown.Error.Code, e.shown.Error.Exit = "E_CANCELLED", cli.ExitCancelled
			e.shown.Error.Docs = "node help E_CANCELLED"
		}
	})
}

// Cancel ends a transfer in either direction, on both sides.
func (d *Daemon) Cancel(id string) (Transfer, error) {
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, changed := d.table.look(e)
	if shown.State.Ended() {
		return Transfer{}, cli.Errorf("E_USAGE", "the transfer %s has ended already", shown.ID).Because(errors.New(string(shown.State)))
	}
	e.cancel(errCancelledHere)
	// The end follows within a moment; a caller that sees it need not ask again.
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	for !shown.State.Ended() {
		select {
		case <-changed:
		case <-t.C:
			return shown, nil
		}
		shown, changed = d.table.look(e)
	}
	return shown, nil
}
