package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/internal/cli"
	"traverse.internal/service"
	"traverse.internal/transfer"
)

// Accept is what happens to offers of files.
type Accept string

// The values of accept.default. Only contacts can offer anything.
const (
	AcceptAsk  Accept = "ask"
	AcceptAuto Accept = "auto"
	AcceptDeny Accept = "deny"
)

// acceptLoop takes the channels that other devices open, until the manager is closed.
func (d *Daemon) acceptLoop() {
	for {
		in, err := d.manager.Accept(d.ctx)
		if err != nil {
			return
		}
		if r, err := service.ParseRequest(in.Name); err == nil {
			d.takeService(in, r)
			continue
		}
		_, isFile := transfer.ParseChannelName(in.Name)
		switch {
		case in.Name == pingChannel:
			d.serve(in, pingTask)
		case !isFile:
			_ = in.Decline("no such service")
		case d.cfg.Accept == AcceptDeny:
			_ = in.Decline("files are not accepted here")
		default:
			d.serve(in, d.receiveTask)
		}
	}
}

// serve runs a task for a channel, unless the device that opened it has as many as it may.
func (d *Daemon) serve(in *connmgr.Incoming, task func(*connmgr.Incoming)) {
	if !d.table.enter(in.Peer) {
		_ = in.Decline("busy")
		return
	}
	d.tasks.Go(func() {
		defer d.table.leave(in.Peer)
		task(in)
	})
}

// shownName is what a person is asked about: the name that the file would be stored under, not one that turns a terminal's writing around.
func shownName(offered string) string { return transfer.SafeName(offered) }

// receiveTask reads an offer, has it decided, and takes the file.
func (d *Daemon) receiveTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return // the channel was gone before it was accepted
	}
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	progress := new(transfer.Progress)
	offer, err := transfer.ReadOffer(ctx, ch, transfer.ReceiveOptions{Progress: progress, Counters: &d.counters})
	if err != nil {
		d.log.Debug("an offer could not be read", "peer", in.Peer.Short(), "error", err)
		return
	}
	o := offer.Offer()
	e, err := d.table.add(Transfer{
		ID: o.ID, Direction: "receive", State: StateOffered, Peer: PeerRef{d.contacts.NameOf(in.Peer), in.Peer.String()},
		File: shownName(o.Name), Size: o.Size, Path: pathOf(in.Route),
	}, progress, cancel)
	if err != nil {
		_ = offer.Decline(err.Error())
		return
	}
	d.table.update(e, func(e *entry) { e.session = in.SessionID })
	if d.acceptRule(in.Peer, o.Size) == AcceptAsk {
		yes, err := d.ask(ctx, e, offer)
		if err != nil || !yes {
			d.end(ctx, e, err)
			return
		}
	}
	d.table.update(e, func(e *entry) { e.shown.State = StateReceiving })
	dir, done, err := d.downloadsFor(in.Peer)
	if err != nil {
		_ = offer.Decline("cannot store the file")
		d.end(ctx, e, err)
		return
	}
	defer done()
	res, err := offer.Accept(ctx, dir, transfer.AcceptOptions{MinFree: d.cfg.MinFree, NoSync: d.cfg.NoSync})
	if err == nil {
		d.table.update(e, func(e *entry) { e.shown.File = filepath.Join(dir.Path(), res.Name) })
	}
	d.end(ctx, e, err)
}

// ask waits for a person's decision on an offer, as long as the sender waits too. A refusal has been sent when it returns.
func (d *Daemon) ask(ctx context.Context, e *entry, offer *transfer.Incoming) (bool, error) {
	select {
	case dec := <-e.decide:
		if dec.accept {
			return true, nil
		}
		why := dec.why
		if why == "" {
			why = "declined"
		}
		_ = offer.Decline(why)
	case <-offer.Done():
	case <-ctx.Done():
		offer.Cancel()
	}
	<-offer.Done()
	return false, offer.Err()
}

// Inbox lists the offers that wait for a decision.
func (d *Daemon) Inbox() TransferList {
	return TransferList{envelope("inbox"), d.table.list(func(t *Transfer) bool {
		return t.Direction == "receive" && t.State == StateOffered
	})}
}

// AcceptOffer takes an offer that waits in the inbox.
func (d *Daemon) AcceptOffer(id string) (Transfer, error) {
	return d.decide(id, decision{accept: true})
}

// Decline refuses an offer that waits in the inbox; the sender is told why.
func (d *Daemon) Decline(id, why string) (Transfer, error) { return d.decide(id, decision{why: why}) }

func (d *Daemon) decide(id string, dec decision) (Transfer, error) {
	e, err := d.table.find(id)
	if err != nil {
		return Transfer{}, err
	}
	shown, changed := d.table.look(e)
	if shown.Direction != "receive" || shown.State != StateOffered {
		return Transfer{}, cli.Errorf("E_USAGE", "the transfer %s is not waiting for a decision", shown.ID).
			Because(errors.New("its state is " + string(shown.State)))
	}
	select {
	case e.decide <- dec:
	default:
		return Transfer{}, cli.Errorf("E_USAGE", "the offer %s has been decided already", shown.ID)
	}
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
	}
	shown, _ = d.table.look(e)
	return shown, nil
}
