package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// Causes of a run's end that somebody on this side asked for. The last two leave the transfer where it is.
var (
	errCancelledHere = errors.New("cancelled on this side")
	errPausedHere    = &transfer.Error{Kind: transfer.ErrPaused, By: transfer.Local, Detail: "paused on this side"}
	errGoingDown     = &transfer.Error{Kind: transfer.ErrInterrupted, By: transfer.Local, Detail: "the node is going down"}
	errTakenOver     = &transfer.Error{Kind: transfer.ErrInterrupted, By: transfer.Local, Detail: "begun again"}
)

// Send begins to send files and folders to a contact as one transfer, and returns at once. What is wrong with them or the name is said
// here; all else in the transfer.
func (d *Daemon) Send(who string, paths ...string) (Transfer, error) {
	return d.SendWith(SendOptions{}, who, paths...)
}

// SendWith is Send with options.
func (d *Daemon) SendWith(opt SendOptions, who string, paths ...string) (Transfer, error) {
	if err := opt.check(); err != nil {
		return Transfer{}, err
	}
	keep := kept{Options: opt, Until: opt.until()}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return Transfer{}, cli.Errorf("E_USAGE", "the path %q is not absolute", path)
		}
		keep.Paths = append(keep.Paths, []byte(path))
	}
	to, err := d.contacts.Resolve(who)
	if err != nil {
		return Transfer{}, err
	}
	src, err := transfer.NewSourceWithout(opt.Exclude, paths...)
	if err != nil {
		return Transfer{}, explain(err, to.Name)
	}
	if opt.As != "" && src.Roots() > 1 {
		return Transfer{}, cli.Errorf("E_USAGE", "one name does for one file or folder, and these are %d", src.Roots())
	}
	devices := to.meant(d.self)
	switch len(devices) {
	case 0:
		return Transfer{}, cli.Errorf("E_PEER_UNKNOWN", "%s has no other device", to.Name).Hint("see `node device ls`")
	case 1:
	default:
		return d.sendToAll(to, devices, src, keep)
	}
	t := Transfer{ID: transfer.NewID(), Direction: "send", State: StateConnecting, Peer: PeerRef{devices[0].Name, devices[0].Device.String()}}
	describe(&t, src)
	opt.describe(&t)
	e, saved, err := d.enterSend(t, src, keep)
	if err != nil {
		return Transfer{}, err
	}
	d.startSending(e, src)
	saved() // who leaves now finds it again, whatever happens to the daemon
	shown, _ := d.table.look(e)
	return shown, nil
}

// describe shows what a source is.
func describe(t *Transfer, src *transfer.Source) {
	t.File, t.Size, t.Files, t.Entries, t.Skipped = src.Name(), src.Size(), src.Files(), len(src.Entries()), src.Skipped()
}

// startSending has a transfer sent; src may be nil, and is then read from where Send left it.
func (d *Daemon) startSending(e *entry, src *transfer.Source) {
	ctx, r := d.table.begin(d.ctx, e, errTakenOver)
	if !d.spawn(func() {
		defer d.table.finish(e, r)
		defer d.expire(e)()
		d.sendTask(ctx, e, src)
	}) {
		d.table.finish(e, r)
	}
}

// The wait before a transfer is tried again: the first time this long, then twice as long each time. A session with the peer ends it.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute

	// goodRun is how long a run must have lasted for the waits to begin anew.
	goodRun = 10 * time.Second

	// maxWrong is how often in a row a body may arrive wrong before that is the end: once may be the wire's or the disk's bad luck.
	maxWrong = 3
)

// sendTask sends until the transfer is over, paused, or the node goes down.
func (d *Daemon) sendTask(ctx context.Context, e *entry, src *transfer.Source) {
	wait, wrong := firstRetry, 0
	place := new(place)
	for {
		began := time.Now()
		err := d.sendOnce(ctx, e, &src, place)
		place.leave()
		if errors.Is(err, errNoPlace) && ctx.Err() == nil {
			if d.waitPlace(ctx, e, place) {
				continue
			}
			err = context.Cause(ctx)
		}
		if errors.Is(err, transfer.ErrIntegrity) {
			if wrong++; wrong < maxWrong {
				err = errTakenOver
			}
		}
		if !d.settle(ctx, e, err) {
			return
		}
		if time.Since(began) > goodRun {
			wait = firstRetry
		}
		if noRoom("send", err) {
			wait = max(wait, roomRetry)
		}
		if !d.waitRetry(ctx, e, wait) {
			return
		}
		wait = min(2*wait, lastRetry)
	}
}

// waitRetry waits for the next run: some time, or until somebody wakes it. It reports false when there is to be none.
func (d *Daemon) waitRetry(ctx context.Context, e *entry, wait time.Duration) bool {
	wait += rand.N(wait / 2) // so that many do not come at once
	at := time.Now().Add(wait)
	d.table.update(e, func(e *entry) { e.shown.State, e.shown.RetryAt = StateQueued, &at })
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.wake:
	case <-ctx.Done():
		d.settle(ctx, e, context.Cause(ctx))
		return false
	}
	d.table.update(e, func(e *entry) { e.shown.State, e.shown.RetryAt = StateConnecting, nil })
	return true
}

// sendOnce opens a channel and runs the transfer on it as far as it goes.
func (d *Daemon) sendOnce(ctx context.Context, e *entry, src **transfer.Source, place *place) error {
	if d.drain.on.Load() {
		return errDraining
	}
	shown, keep := d.table.record(e)
	if *src == nil {
		var err error
		if *src, err = transfer.LoadSource(d.sourcePath(shown.ID)); err != nil {
			return err
		}
	}
	journal, err := d.openJournal(e)
	switch {
	case errors.Is(err, syscall.ENOSPC): // it only spares hashing
	case err != nil:
		return &transfer.Error{Kind: transfer.ErrSource, Detail: "the journal", Cause: err}
	default:
		defer journal.Close()
	}
	to, err := identity.ParseDeviceID(shown.Peer.Device)
	if err != nil {
		return err
	}
	d.table.note(e, func(e *entry) { e.shown.State, e.paused = StateConnecting, false })
	if err := d.waitAuthorized(ctx, to); err != nil {
		return err
	}
	ch, info, err := d.manager.Connect(ctx, to, transfer.ChannelName(shown.ID))
	if err != nil {
		return err
	}
	ch.SetPriority(mux.Bulk)
	if keep.Options.Priority == "high" {
		ch.SetPriority(mux.Normal)
	}
	progress := new(transfer.Progress)
	d.table.note(e, func(e *entry) {
		e.shown.State, e.shown.Path, e.session, e.shown.Error = StateOffered, pathOf(info.Route), info.SessionID, nil
		e.progress, e.paused, e.kept.Offered = progress, false, true
		e.shown.Runs++
	})
	res, err := transfer.Send(ctx, ch, *src, transfer.SendOptions{
		ID: shown.ID, Interaction: shown.Interaction, Name: keep.Options.As, Note: keep.Options.Note, ReadBack: keep.Options.ReadBack,
		Journal: journal, Rate: keep.Options.Rate, Progress: progress, Counters: &d.counters,
		Ready: func() error {
			if d.drain.on.Load() {
				return errDraining
			}
			return d.places.take(place, d.contactName(shown.Peer), shown.Size-progress.Bytes())
		},
	})
	if sum := digestText(res.Digest); err == nil && sum != "" { // else that of the run before stays
		d.table.change(e, func(e *entry) { e.shown.Digest = sum })
	}
	return err
}

func digestText(sum transfer.Digest) string {
	if sum == (transfer.Digest{}) {
		return ""
	}
	return sum.String()
}

// settle notes how a run ended, and reports whether there is to be another.
func (d *Daemon) settle(ctx context.Context, e *entry, err error) (again bool) {
	shown, _ := d.table.look(e)
	switch {
	case d.ctx.Err() != nil && err != nil:
		d.leave(ctx, e, err)
		return false
	case errors.Is(context.Cause(ctx), errCancelledHere):
	case err != nil && shown.Direction == "send" && d.expired(ctx, e):
		err = errExpired
	case errors.Is(err, transfer.ErrPaused):
		by := "this side"
		var end *transfer.Error
		if errors.As(err, &end) && end.By == transfer.Remote {
			by = "peer"
		}
		d.table.update(e, func(e *entry) { e.shown.State, e.shown.PausedBy, e.session = StatePaused, by, [16]byte{} })
		return false
	case errors.Is(context.Cause(ctx), transfer.ErrInterrupted): // another run takes over
		return false
	case err != nil && (recoverable(err) || noRoom(shown.Direction, err)):
		d.table.update(e, func(e *entry) {
			e.full = errors.Is(err, transfer.ErrNoSpace)
			e.shown.State, e.shown.Error, e.session, e.paused = StateQueued, explain(err, e.shown.Peer.Name), [16]byte{}, false
			e.shown.Bytes = max(e.shown.Bytes, e.progress.Bytes())
		})
		return true
	}
	if _, keep := d.table.record(e); keep.Get != nil && err != nil && !errors.Is(context.Cause(ctx), errCancelledHere) {
		// The next source may do better: getTask looks at the error.
		d.table.update(e, func(e *entry) {
			e.shown.State, e.shown.Error, e.session, e.paused = StateQueued, explain(err, e.shown.Peer.Name), [16]byte{}, false
		})
		return false
	}
	d.end(ctx, e, err)
	if shown, _ = d.table.look(e); shown.State == StateDone || shown.State == StateDeclined {
		d.tidy(&shown)
	}
	if shown.State == StateDone {
		d.sums.add(shown.ID)
	}
	return false
}

// leave is for a node that goes down: who follows the transfer is told so, and it goes on where it is when the node is up again.
func (d *Daemon) leave(ctx context.Context, e *entry, err error) {
	d.table.change(e, func(e *entry) {
		e.shown.State, e.shown.Error = StateCancelled, d.explainEnd(ctx, err, e.shown.Peer.Name)
		e.left = true
	})
}

// recoverable tells whether a run that ended so is followed by another by itself: the way to the peer was lost, or was not found.
func recoverable(err error) bool {
	if reason.Of(err) == reason.AuthRevoked {
		return false
	}
	var end *transfer.Error
	if errors.As(err, &end) {
		return errors.Is(err, transfer.ErrInterrupted) || errors.Is(err, transfer.ErrBusy)
	}
	if declined := (*mux.DeclinedError)(nil); errors.As(err, &declined) {
		return declined.Passing()
	}
	return !errors.Is(err, connmgr.ErrSelf) && !errors.Is(err, connmgr.ErrClosed)
}

// end notes how a transfer ended.
func (d *Daemon) end(ctx context.Context, e *entry, err error) {
	d.table.update(e, func(e *entry) {
		e.paused = false
		if err == nil {
			e.shown.State, e.shown.Error = StateDone, nil
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
	switch {
	case errors.Is(context.Cause(ctx), errCancelledHere):
		return cli.Errorf("E_CANCELLED", "the transfer was cancelled").Because(errCancelledHere).Hint("take it up again: node transfers retry")
	case d.ctx.Err() != nil:
		return cli.Errorf("E_CANCELLED", "the node is going down").Hint("the transfer goes on when it is up again")
	}
	return explain(err, peer)
}
