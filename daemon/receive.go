package daemon

import (
	"context"
	"errors"
	"path/filepath"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
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
		if !d.admit(in) || d.drained(in) {
			continue
		}
		if r, err := service.ParseRequest(in.Name); err == nil {
			d.takeService(in, r)
			continue
		}
		_, isFile := transfer.ParseChannelName(in.Name)
		_, isAgain := transfer.ParseAgainName(in.Name)
		switch {
		case in.Name == pingChannel:
			d.serve(in, pingTask)
		case in.Name == benchChannel:
			d.takeBench(in)
		case in.Name == contactsChannel && d.contacts.isOwn(in.Peer):
			d.serve(in, d.contactsTask)
		case in.Name == leaveChannel && d.contacts.isOwn(in.Peer):
			d.serve(in, d.leaveTask)
		case isAgain:
			d.serve(in, d.againTask)
		case in.Name == requestChannel:
			d.serve(in, d.requestTask)
		case !isFile:
			_ = in.Decline("no such service")
		case d.rules.Load().accept == AcceptDeny && !d.askedFor(in) && !d.gathers(in):
			_ = in.Decline("files are not accepted here")
		default:
			d.serve(in, d.receiveTask)
		}
	}
}

// admit lets a channel pass that a device opened who may use something here. What is said before that is answered by itself: a guest's word, and
// a newer device list.
func (d *Daemon) admit(in *connmgr.Incoming) bool {
	if inv, ok := d.contacts.guest(in.Peer); ok {
		if in.Name == joinChannel {
			d.serve(in, func(in *connmgr.Incoming) { d.guestTask(in, inv) })
		} else {
			_ = in.Decline("an invitation is answered first")
		}
		return false
	}
	if in.Name == accountChannel {
		d.serve(in, d.accountTask)
		return false
	}
	if err := d.contacts.Authorized(in.Peer); err != nil {
		_ = in.Decline(err.Error())
		return false
	}
	return true
}

// askedFor tells whether this side has asked for what a device is about to offer.
func (d *Daemon) askedFor(in *connmgr.Incoming) bool {
	id, _ := transfer.ParseChannelName(in.Name)
	e := d.table.byID(id)
	if e == nil {
		return false
	}
	shown, keep := d.table.record(e)
	return keep.Get != nil && shown.Peer.Device == in.Peer.String()
}

// serve runs a task for a channel, unless the device that opened it has as many as it may.
func (d *Daemon) serve(in *connmgr.Incoming, task func(*connmgr.Incoming)) {
	if !d.table.enter(in.Peer) {
		_ = in.Decline(mux.ReasonBusy)
		return
	}
	d.tasks.Go(func() {
		defer d.table.leave(in.Peer)
		task(in)
	})
}

// shownName is what a person is asked about: the name that the file would be stored under, not one that turns a terminal's writing around.
func shownName(offered string) string { return transfer.SafeName(offered) }

// receiveTask reads an offer, finds out whether it is a new one, has it decided, and takes the files.
func (d *Daemon) receiveTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return // the channel was gone before it was accepted
	}
	progress := new(transfer.Progress)
	offer, err := transfer.ReadOffer(d.ctx, ch, transfer.ReceiveOptions{Progress: progress, Counters: &d.counters})
	if err != nil {
		d.log.Debug("an offer could not be read", "peer", in.Peer.Short(), "error", err)
		if errors.Is(err, transfer.ErrCancelled) && d.ctx.Err() == nil {
			d.withdrawn(in)
		}
		return
	}
	o := offer.Offer()
	if l := d.lanes.find(o.ID, in.Peer); l != nil {
		d.laneTask(l, offer)
		return
	}
	t := Transfer{
		ID: o.ID, Interaction: o.Interaction, Direction: "receive", State: StateOffered, Peer: PeerRef{d.contacts.NameOf(in.Peer), in.Peer.String()},
		File: shownName(o.Name), Note: o.Note, Size: o.Size, Files: offer.Files(), Entries: o.Entries, Path: pathOf(in.Route),
	}
	e := d.table.byID(o.ID)
	if e == nil {
		t.Runs = 1 // this one: who sees the offer sees that it is here
		if e, _, err = d.table.add(t, kept{Accepted: d.acceptRule(in.Peer, o.Size) == AcceptAuto, Offered: true}); err != nil {
			_ = offer.Decline(err.Error())
			return
		}
	} else if shown, _ := d.table.look(e); shown.Direction != t.Direction || shown.Peer.Device != t.Peer.Device {
		_ = offer.Decline("there is another transfer of that id")
		return
	}
	ctx, r := d.table.begin(d.ctx, e, errTakenOver)
	defer d.table.finish(e, r)
	d.receiveRun(ctx, e, in, offer, t, progress)
}

// receiveRun answers an offer that is the caller's to answer.
func (d *Daemon) receiveRun(ctx context.Context, e *entry, in *connmgr.Incoming, offer *transfer.Incoming, t Transfer, progress *transfer.Progress) {
	shown, keep := d.table.record(e)
	switch {
	case shown.State == StateDone:
		_ = offer.Have()
		return
	case shown.State == StateDeclined:
		_ = offer.Decline(keep.Reason)
		return
	case shown.State == StateCancelled && keep.Tell:
		d.table.reopen(e, func(e *entry) { e.kept.Tell = false })
		_ = offer.Refuse(transfer.ErrCancelled, "")
		return
	case shown.State == StatePaused && shown.PausedBy == "this side":
		_ = offer.Refuse(transfer.ErrPaused, "")
		return
	}
	d.table.change(e, func(e *entry) { e.entries = offer.Entries() })
	if !keep.Accepted {
		d.keepList(e, offer.Entries())
	}
	defer d.table.change(e, func(e *entry) { e.entries = nil })
	state := StateOffered
	if keep.Accepted {
		state = StateReceiving
	}
	d.table.reenter(e, func(e *entry) {
		e.shown.State, e.shown.Path, e.shown.Error, e.shown.PausedBy, e.shown.RetryAt = state, t.Path, nil, "", nil
		e.shown.Size, e.shown.Files, e.shown.Entries = t.Size, t.Files, t.Entries
		if e.shown.File == "" {
			e.shown.File, e.shown.Interaction = t.File, t.Interaction // of one that this side has asked for
		}
		e.session, e.paused, e.progress = in.SessionID, false, progress
		if t.Runs == 0 {
			e.shown.Runs++
		}
	})
	if !keep.Accepted {
		yes, err := d.ask(ctx, e, offer)
		if err != nil || !yes {
			d.settleOffer(ctx, e, err)
			return
		}
		d.table.update(e, func(e *entry) { e.shown.State, e.kept.Accepted = StateReceiving, true })
	}
	if d.settle(ctx, e, d.take(ctx, e, in, offer)) && keep.Get == nil && d.table.metFull(e) { // who has asked for it waits in getTask
		d.awaitRoom(e, d.startAgain)
	}
}

// take receives what is offered.
func (d *Daemon) take(ctx context.Context, e *entry, in *connmgr.Incoming, offer *transfer.Incoming) error {
	journal, err := d.openJournal(e)
	if err != nil {
		_ = offer.Refuse(transfer.ErrStorage, "")
		return &transfer.Error{Kind: transfer.ErrStorage, Detail: "the journal", Cause: err}
	}
	defer journal.Close()
	_, keep := d.table.record(e)
	dir, done, err := d.folderFor(in.Peer, keep.To)
	if err != nil {
		_ = offer.Refuse(transfer.ErrStorage, "cannot store the file")
		return &transfer.Error{Kind: transfer.ErrStorage, Cause: err}
	}
	defer done()
	res, err := offer.Accept(ctx, dir, transfer.AcceptOptions{
		Journal: journal, MinFree: d.rules.Load().minFree, NoSync: d.cfg.NoSync, Only: keep.Only, Existing: existing[keep.Existing],
	})
	if err != nil {
		return err
	}
	if _, keep := d.table.record(e); keep.Get != nil {
		if err := d.checkGot(dir, keep.Get, offer.Entries(), res.Names); err != nil {
			removeGot(dir, res.Names)
			return err
		}
	}
	d.stored(e, dir, res)
	return nil
}

// stored shows where what has come is now.
func (d *Daemon) stored(e *entry, dir *transfer.Dir, res transfer.Result) {
	d.table.change(e, func(e *entry) {
		e.shown.File, e.shown.Digest, e.shown.Names = filepath.Join(dir.Path(), res.Name), digestText(res.Digest), nil
		for _, name := range res.Names {
			if len(res.Names) > 1 {
				e.shown.Names = append(e.shown.Names, filepath.Join(dir.Path(), name))
			}
		}
	})
}

// settleOffer notes how an offer ended that nobody has taken. One whose sender is gone stays in the inbox.
func (d *Daemon) settleOffer(ctx context.Context, e *entry, err error) {
	if errors.Is(err, transfer.ErrInterrupted) && d.ctx.Err() == nil {
		d.table.update(e, func(e *entry) { e.session, e.paused = [16]byte{}, false })
		return
	}
	d.settle(ctx, e, err)
}

// withdrawn is for a sender who opened a channel only to say that it is cancelled.
func (d *Daemon) withdrawn(in *connmgr.Incoming) {
	id, _ := transfer.ParseChannelName(in.Name)
	e := d.table.byID(id)
	if e == nil {
		return
	}
	shown, _ := d.table.look(e)
	if shown.Direction != "receive" || shown.Peer.Device != in.Peer.String() || shown.State.Ended() {
		return
	}
	ctx, r := d.table.begin(d.ctx, e, errTakenOver)
	defer d.table.finish(e, r)
	d.end(ctx, e, &transfer.Error{Kind: transfer.ErrCancelled, By: transfer.Remote})
}

// ask waits for a person's decision on an offer, as long as the sender waits too. A refusal has been sent when it returns.
func (d *Daemon) ask(ctx context.Context, e *entry, offer *transfer.Incoming) (bool, error) {
	select {
	case dec := <-e.decide:
		select {
		case <-offer.Done(): // withdrawn at the same moment
			return false, offer.Err()
		default:
		}
		if dec.accept {
			return true, nil
		}
		why := dec.why
		if why == "" {
			why = "declined"
		}
		d.table.change(e, func(e *entry) { e.kept.Reason = why })
		_ = offer.Decline(why)
	case <-offer.Done():
	case <-ctx.Done():
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, transfer.ErrPaused):
			_ = offer.Refuse(transfer.ErrPaused, "")
		case errors.Is(cause, errCancelledHere):
			offer.Cancel()
		default: // the node goes down, or the sender has come again: it is still an offer
			_ = offer.Refuse(transfer.ErrBusy, "")
			<-offer.Done()
			return false, &transfer.Error{Kind: transfer.ErrInterrupted, By: transfer.Local, Cause: cause}
		}
	}
	<-offer.Done()
	return false, offer.Err()
}
