package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// Limits of the transfer table. An entry is about 1 KiB: 768 KiB in all.
const (
	maxActiveTransfers = 256 // in progress in each direction, offers that wait included: what others offer keeps nobody from sending
	maxEndedTransfers  = 256 // kept for `status`; the oldest go first

	// maxServed is how many channels of one device are served at once, whatever for. A file on its way holds 1 MiB: 64 MiB a contact, and
	// four contacts that offer all they can before the table is full.
	maxServed = 64

	// maxFromOne is how many transfers one device may have in progress here that it offered: the offers of one that comes and goes stay in the inbox, and
	// those of others have their room beside them.
	maxFromOne = 64
)

// entry is one transfer: what is shown of it, and how to end it.
type entry struct {
	shown    Transfer // guarded by table.mu, as the fields below
	session  [16]byte // session that carries it; zero before there is one
	paused   bool
	progress *transfer.Progress
	run      *run          // in progress now, nil when there is none
	decide   chan decision // an offer's answer from a person; buffered
	wake     chan struct{} // buffered: the wait for the next run is over
	changed  chan struct{} // closed and replaced at each change of state

	full bool      // the last run found this side's disk full
	room *roomWait // the last wait for room there

	left    bool             // shown as cancelled because the node goes down; the store has it as it was
	entries []transfer.Entry // of an offer, while it is here

	kept  kept   // what the store has besides shown
	saved string // what it was when it was last saved, as far as that matters
}

// run is one attempt at a transfer, from the channel's opening to its end.
type run struct {
	cancel context.CancelCauseFunc
	over   chan struct{} // closed when it has ended
}

// decision is a person's answer to an offer.
type decision struct {
	accept bool
	why    string
	AcceptRequest
}

// table holds the transfers in the order in which they began. Safe for concurrent use.
type table struct {
	mu      sync.Mutex // guards the fields below and every entry's
	entries []*entry
	served  map[identity.DeviceID]int // channels, by who opened them; no entry is 0
	runs    int                       // of all entries

	forget func(Transfer)      // of an old one that is no longer listed, under mu; it does not wait
	save   func(record) func() // begins to keep a transfer's record, under mu; what it returns waits until it is on the disk
	notify func(Transfer)      // told of each transfer that began or changed its state, under mu; may be nil
}

// enter counts a channel that a device has opened, unless it has too many.
func (t *table) enter(peer identity.DeviceID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.served[peer] >= maxServed {
		return false
	}
	if t.served == nil {
		t.served = map[identity.DeviceID]int{}
	}
	t.served[peer]++
	return true
}

// leave counts it out.
func (t *table) leave(peer identity.DeviceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.served[peer]--; t.served[peer] == 0 {
		delete(t.served, peer)
	}
}

// add enters a transfer, or refuses when too many are in progress in its direction, or its id, which is the sender's to choose, is taken.
// It does not wait until the transfer is on the disk; saved does.
func (t *table) add(shown Transfer, keep kept) (e *entry, saved func(), err error) {
	if e, err = t.enterEntry(shown, keep); err != nil {
		return nil, nil, err
	}
	return e, t.keep(e), nil
}

func (t *table) enterEntry(shown Transfer, keep kept) (*entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	active, ended, fromOne := 0, 0, 0
	for _, e := range t.entries {
		switch {
		case e.shown.ID == shown.ID:
			return nil, cli.Errorf("E_DENIED", "there is a transfer %s already", shown.ID)
		case e.shown.State.Ended():
			ended++
		case e.shown.Direction == shown.Direction:
			active++
			if e.shown.Peer.Device == shown.Peer.Device && shown.Direction == "receive" && keep.Get == nil && e.kept.Get == nil {
				fromOne++
			}
		}
	}
	if active >= maxActiveTransfers || fromOne >= maxFromOne {
		return nil, cli.Errorf("E_DENIED", "too many transfers at once").Hint("wait for one to end, or cancel one")
	}
	if ended >= maxEndedTransfers {
		i := slices.IndexFunc(t.entries, func(e *entry) bool { return e.shown.State.Ended() && e.run == nil })
		if i >= 0 {
			if t.forget != nil {
				t.forget(t.entries[i].shown)
			}
			t.entries = slices.Delete(t.entries, i, i+1)
		}
	}
	shown.Envelope = envelope("transfer")
	shown.Created = time.Now()
	e := newEntry(shown, keep)
	t.entries = append(t.entries, e)
	t.tellLocked(e)
	return e, nil
}

func newEntry(shown Transfer, keep kept) *entry {
	return &entry{
		shown: shown, kept: keep, progress: new(transfer.Progress), decide: make(chan decision, 1), wake: make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
}

// keep begins to save an entry where something of it has changed that is to survive the daemon; what it returns waits for that.
func (t *table) keep(e *entry) (saved func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := record{e.shown, e.kept}
	r.Transfer.Bytes = max(e.progress.Bytes(), r.Transfer.Bytes)
	mark := r.mark()
	if mark == e.saved || e.left || t.save == nil {
		return func() {}
	}
	e.saved = mark
	return t.save(r)
}

// update changes an entry under the lock and wakes who waits for it. An ended entry stays as it ended; reopen takes it up again.
// What is to survive the daemon is on the disk when update returns.
func (t *table) update(e *entry, change func(*entry)) {
	t.change(e, change)
	t.keep(e)()
}

// note is update for what may be lost with the daemon, because the other side knows it or it is found out again: it waits for no disk.
func (t *table) note(e *entry, change func(*entry)) {
	t.change(e, change)
	t.keep(e)
}

func (t *table) change(e *entry, change func(*entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.shown.State.Ended() {
		return
	}
	change(e)
	if e.shown.State.Ended() {
		now := time.Now()
		e.shown.RetryAt, e.shown.PausedBy = nil, ""
		e.shown.Ended = &now
		e.shown.Bytes, e.shown.RateBPS, e.shown.ETA = max(e.progress.Bytes(), e.shown.Bytes), e.rate(now), 0
		e.shown.Resent = max(e.shown.Resent, e.progress.Again())
		e.shown.unwanted(e)
	}
	close(e.changed)
	e.changed = make(chan struct{})
	t.tellLocked(e)
}

func (t *table) tellLocked(e *entry) {
	if t.notify != nil {
		t.notify(t.lookLocked(e))
	}
}

// look returns what is to be shown of the entry now, and a channel that is closed at its next change of state.
func (t *table) look(e *entry) (Transfer, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookLocked(e), e.changed
}

func (t *table) lookLocked(e *entry) Transfer {
	shown := e.shown
	if shown.State.Ended() {
		return shown
	}
	shown.Bytes = max(e.progress.Bytes(), shown.Bytes)
	shown.unwanted(e)
	shown.Resent = max(e.progress.Again(), shown.Resent)
	if shown.State == StateOffered || shown.State == StateSending || shown.State == StateReceiving {
		// The phase moves on inside package transfer; the table follows when it is looked at.
		switch e.progress.Phase() {
		case transfer.Sending:
			shown.State = StateSending
		case transfer.Receiving:
			shown.State = StateReceiving
		case transfer.Verifying, transfer.Done:
			shown.State = StateVerifying
		}
	}
	if e.paused {
		shown.State = StatePaused
	}
	if shown.RateBPS = e.rate(time.Now()); shown.RateBPS > 0 && e.run != nil {
		shown.ETA = int64(float64(shown.Size-shown.UnwantedBytes-shown.Bytes) / float64(shown.RateBPS) * float64(time.Second))
	}
	return shown
}

// unwanted shows what of it the receiver does not take.
func (t *Transfer) unwanted(e *entry) {
	if bytes, files := e.progress.Unwanted(); files > 0 {
		t.UnwantedBytes, t.UnwantedFiles = bytes, files
	}
}

// rate is the mean since the body began, in bytes per second.
func (e *entry) rate(now time.Time) int64 {
	began := e.progress.Began()
	if began.IsZero() || !now.After(began) {
		return 0
	}
	return int64(float64(e.progress.Bytes()-e.progress.Start()) / now.Sub(began).Seconds())
}

// find returns the transfer whose id is, or alone begins with, the given one.
func (t *table) find(id string) (*entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *entry
	for _, e := range t.entries {
		switch {
		case e.shown.ID == id:
			return e, nil
		case len(id) >= 4 && len(e.shown.ID) > len(id) && e.shown.ID[:len(id)] == id:
			if found != nil {
				return nil, cli.Errorf("E_USAGE", "more than one transfer begins with %q", id).Hint("give more of the id")
			}
			found = e
		}
	}
	if found == nil {
		return nil, cli.Errorf("E_USAGE", "there is no transfer %q", id).Hint("see `node inbox ls` and `node status`")
	}
	return found, nil
}

// list returns the transfers that match, oldest first.
func (t *table) list(match func(*Transfer) bool) []Transfer {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []Transfer{}
	for _, e := range t.entries {
		if shown := t.lookLocked(e); match == nil || match(&shown) {
			list = append(list, shown)
		}
	}
	return list
}

// onSession applies a change to every transfer that the session carries.
func (t *table) onSession(peer identity.DeviceID, session [16]byte, change func(*entry)) {
	t.mu.Lock()
	var carried []*entry
	for _, e := range t.entries {
		if e.session == session && e.shown.Peer.Device == peer.String() {
			carried = append(carried, e)
		}
	}
	t.mu.Unlock()
	for _, e := range carried {
		t.update(e, change)
	}
}

// reopen changes an entry whether it has ended or not, as update does one that has not.
func (t *table) reopen(e *entry, change func(*entry)) { t.reenter(e, change)() }

// reenter is reopen that does not wait for the disk.
func (t *table) reenter(e *entry, change func(*entry)) (saved func()) {
	t.mu.Lock()
	change(e)
	if !e.shown.State.Ended() {
		e.shown.Ended = nil
	}
	close(e.changed)
	e.changed = make(chan struct{})
	if t.notify != nil {
		t.notify(t.lookLocked(e))
	}
	t.mu.Unlock()
	return t.keep(e)
}

// begin makes the caller the one who runs the transfer. An earlier run is told to end, and waited for.
func (t *table) begin(parent context.Context, e *entry, why error) (context.Context, *run) {
	ctx, cancel := context.WithCancelCause(parent)
	mine := &run{cancel: cancel, over: make(chan struct{})}
	for {
		t.mu.Lock()
		other := e.run
		if other == nil {
			e.run = mine
			t.runs++
			t.mu.Unlock()
			return ctx, mine
		}
		t.mu.Unlock()
		other.cancel(why)
		<-other.over
	}
}

// finish ends a run.
func (t *table) finish(e *entry, r *run) {
	r.cancel(nil)
	t.mu.Lock()
	t.runs--
	if e.run == r {
		e.run = nil
	}
	t.mu.Unlock()
	close(r.over)
}

// stop tells the run of an entry to end, and reports whether there was one.
func (t *table) stop(e *entry, why error) bool {
	t.mu.Lock()
	r := e.run
	t.mu.Unlock()
	if r != nil {
		r.cancel(why)
	}
	return r != nil
}

// byID returns the transfer with exactly this id, nil where there is none.
func (t *table) byID(id string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		if e.shown.ID == id {
			return e
		}
	}
	return nil
}

// of returns the transfers with a device that match.
func (t *table) of(device string, match func(*entry) bool) (list []*entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		if e.shown.Peer.Device == device && match(e) {
			list = append(list, e)
		}
	}
	return list
}

// drop takes an entry out of the table.
func (t *table) drop(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.entries, e); i >= 0 {
		t.entries = slices.Delete(t.entries, i, i+1)
	}
}

// all returns the transfers, oldest first.
func (t *table) all() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.entries)
}

// record returns what is shown and what is kept of an entry.
func (t *table) record(e *entry) (Transfer, kept) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookLocked(e), e.kept
}

// busy tells whether any transfer runs.
func (t *table) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runs > 0
}

// running tells whether an entry has a run.
func (t *table) running(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return e.run != nil
}
