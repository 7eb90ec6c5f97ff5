package daemon

import (
	"errors"
	"time"

	"traverse.internal/identity"
	"traverse.internal/transfer"
)

// A transfer that met a full disk waits, on both sides, and goes on by itself when there is room: the receiver looks at its disk and asks the sender to offer it
// again. The sender offers it by itself too, less often, as an older receiver does not ask.
const (
	firstLook = time.Second
	lastLook  = 30 * time.Second // a look costs a system call

	// roomRetry is the sender's first wait. It doubles up to lastRetry.
	roomRetry = 30 * time.Second
)

// noRoom tells whether a run ended because the receiving disk is full.
func noRoom(direction string, err error) bool {
	var end *transfer.Error
	if !errors.As(err, &end) || !errors.Is(err, transfer.ErrNoSpace) {
		return false
	}
	return (end.By == transfer.Local) == (direction == "receive")
}

// roomWait is a transfer's wait for room on this side's disk.
type roomWait struct {
	first time.Duration // until the first look
	had   int64         // bytes that were here when it began
}

// awaitRoom has goOn called when there is room for what is missing of a transfer, unless something else becomes of the transfer before. Where room that is seen
// is none, as with a quota, each wait in a row is longer than the one before.
func (d *Daemon) awaitRoom(e *entry, goOn func(*entry)) {
	mine := &roomWait{first: firstLook}
	d.table.change(e, func(e *entry) {
		mine.had = max(e.progress.Bytes(), e.shown.Bytes)
		if was := e.room; was != nil && was.had == mine.had {
			mine.first = min(2*was.first, lastRetry)
		}
		e.room = mine
	})
	d.spawn(func() { d.awaitRoomTask(e, mine, goOn) })
}

func (d *Daemon) awaitRoomTask(e *entry, mine *roomWait, goOn func(*entry)) {
	wait := mine.first
	look := time.NewTimer(wait)
	defer look.Stop()
	for {
		shown, changed := d.table.look(e)
		if shown.State != StateQueued || !d.table.waitsFor(e, mine) {
			return
		}
		select {
		case <-changed:
			continue
		case <-d.ctx.Done():
			return
		case <-look.C:
		}
		if d.roomFor(e) {
			goOn(e)
			return
		}
		wait = min(2*wait, max(lastLook, mine.first))
		look.Reset(wait)
	}
}

// waitsFor tells whether a wait is the last that began for the entry.
func (t *table) waitsFor(e *entry, w *roomWait) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return e.room == w
}

// metFull tells whether the last run found this side's disk full.
func (t *table) metFull(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return e.full
}

// roomFor tells whether what is missing of a transfer fits where it goes.
func (d *Daemon) roomFor(e *entry) bool {
	shown, keep := d.table.record(e)
	from, err := identity.ParseDeviceID(shown.Peer.Device)
	if err != nil {
		return false
	}
	dir, done, err := d.folderFor(from, keep.To)
	if err != nil {
		return false
	}
	defer done()
	return dir.Room(shown.Size-shown.UnwantedBytes-shown.Bytes, d.rules.Load().minFree)
}
