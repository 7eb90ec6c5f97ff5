package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
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
	if !d.spawn(func() {
		defer cancel(nil)
		defer src.Close()
		d.sendTask(ctx, e, src, id, to.Device)
	}) {
		cancel(nil)
		src.Close()
		d.end(ctx, e, connmgr.ErrClosed)
	}
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
	ch.SetPriority(mux.Bulk)
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
		if err == nil {
			e.shown.State = StateDone
			return
		}
		e.shown.Error = d.explainEnd(ctx, err, e.shown.Peer.Name)
		switch e.shown.Error.Code {
		case "E_DECLINED":
			e.shown.State = StateDeclined
		case "E_CANCELLED":
			e.shown.State = StateCancelled
		default:
			e.shown.State = StateFailed
		}
	})
}

// explainEnd is explain for a transfer, whose context knows who ended it.
func (d *Daemon) explainEnd(ctx context.Context, err error, peer string) *cli.Error {
	stopped := errors.Is(err, context.Canceled) || errors.Is(err, transfer.ErrCancelled) || errors.Is(err, connmgr.ErrClosed)
	switch {
	case stopped && d.ctx.Err() != nil:
		return cli.Errorf("E_CANCELLED", "the node is going down").Hint("send it again when it is up")
	case errors.Is(context.Cause(ctx), errCancelledHere):
		return cli.Errorf("E_CANCELLED", "the transfer was cancelled").Because(errCancelledHere).Hint("send it again")
	}
	return explain(err, peer)
}

// Cancel ends a transfer in either direction, on both sides.
func (d *Daemon) Cancel(id string) (Transfer, error) {
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, changed := d.table.look(e)
	if shown.State.Ended() {
		return Transfer{}, cli.Errorf("E_USAGE", "the transfer %s has ended already", shown.ID).
			Because(errors.New("its state is " + string(shown.State)))
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
