package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
	"traverse.internal/transfer/store"
)

// kept is what the store has of a transfer besides what is shown of it.
type kept struct {
	Paths    [][]byte `json:"paths,omitempty"`    // what is sent; a path is bytes, not always UTF-8
	Accepted bool     `json:"accepted,omitempty"` // a person, or the policy, has taken the offer
	Reason   string   `json:"reason,omitempty"`   // what the sender is told of a declined one
	Tell     bool     `json:"tell,omitempty"`     // the peer does not know yet that it is cancelled
	Offered  bool     `json:"offered,omitempty"`  // the peer has seen the offer

	Options SendOptions `json:"options,omitzero"`
	Until   time.Time   `json:"until,omitzero"` // when it expires, unless somebody has taken it; zero is never
	To      []byte      `json:"to,omitempty"`   // folder that the receiver chose for it

	Only     []string `json:"only,omitempty"`     // what of it the receiver chose; none: all
	Existing string   `json:"existing,omitempty"` // what becomes of names that are taken

	Requested bool     `json:"requested,omitempty"` // the peer has asked for it
	Get       *getting `json:"get,omitempty"`       // this side has asked for it
}

// record is a transfer in the store.
type record struct {
	Transfer Transfer `json:"transfer"`
	Kept     kept     `json:"kept"`
}

// mark is what makes a record worth saving: where a transfer is between connecting and verifying is not.
func (r record) mark() string {
	state := r.Transfer.State
	switch state {
	case StateConnecting, StateSending, StateReceiving, StateVerifying:
		state = StateQueued
	}
	return fmt.Sprint(state, r.Transfer.File, r.Transfer.SHA3, r.Transfer.Digest, r.Transfer.PausedBy, r.Transfer.Size, r.Transfer.Entries,
		r.Kept.Accepted, r.Kept.Until.UnixNano(), string(r.Kept.To), r.Kept.Only, r.Kept.Existing, r.Kept.Tell, r.Kept.Offered, r.Kept.Reason)
}

// openTransfers opens the store and takes the transfers up where they were.
func (d *Daemon) openTransfers() error {
	d.transfers = filepath.Join(d.cfg.Home.State, "transfers")
	if err := os.MkdirAll(d.transfers, 0o700); err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot make %s", d.transfers).Because(err).Hint("check the permissions, or use another --home")
	}
	var damaged *store.DamagedError
	var err error
	d.store, err = store.Open(filepath.Join(d.transfers, "transfers.db"))
	if errors.As(err, &damaged) {
		// What was received in part is still there, each with its journal; the senders will offer it again.
		d.log.Error("the store of transfers is damaged; it was put aside and begun anew, and nothing else was removed",
			"kept", damaged.Aside, "error", damaged.Cause)
		err = nil
	}
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot open the store of transfers").Because(err).Hint("check the permissions of %s", d.transfers)
	}
	d.undo(func() { _ = d.store.Close() })
	d.store.OnFailure(func(err error) { d.log.Error("transfers cannot be written down", "error", err) })
	d.table.save, d.table.forget = d.saveRecord, d.forgetLater
	err = d.store.Each(func(id string, raw []byte) error {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil || r.Transfer.ID != id || !transfer.ValidID(id) {
			d.log.Error("a transfer's record cannot be read", "transfer", id, "error", err)
			return nil
		}
		d.restore(r)
		return nil
	})
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot read the store of transfers").Because(err).Hint("move %s away", d.transfers)
	}
	slices.SortStableFunc(d.table.entries, func(a, b *entry) int { return a.shown.Created.Compare(b.shown.Created) })
	if damaged == nil {
		d.collect()
	}
	return nil
}

// restore enters what the store has.
func (d *Daemon) restore(r record) {
	t := &r.Transfer
	t.Path, t.RateBPS, t.ETA, t.RetryAt = nil, 0, 0, nil
	if !t.State.Ended() && t.State != StatePaused && !(t.State == StateOffered && t.Direction == "receive") {
		t.State = StateQueued
	}
	if device, err := identity.ParseDeviceID(t.Peer.Device); err == nil {
		t.Peer.Name = d.contacts.NameOf(device)
	}
	e := newEntry(*t, r.Kept)
	e.saved = record{e.shown, e.kept}.mark()
	d.table.entries = append(d.table.entries, e)
}

// saveRecord begins to write a transfer down, and does not wait. What cannot be written is logged: the transfer goes on, and is lost with
// the daemon.
func (d *Daemon) saveRecord(r record) (saved func()) {
	raw, err := json.Marshal(r)
	if err != nil {
		d.log.Error("a transfer cannot be written down", "transfer", r.Transfer.ID, "error", err)
		return func() {}
	}
	wait := d.store.Begin(r.Transfer.ID, raw)
	return func() { _ = wait() } // the store has told of it
}

// journalPath is where the chunks of a transfer are remembered, and sourcePath what is sent.
func (d *Daemon) journalPath(t *Transfer) string {
	return filepath.Join(d.transfers, t.Direction+"-"+t.ID+journalSuffix)
}

func (d *Daemon) sourcePath(id string) string {
	return filepath.Join(d.transfers, "send-"+id+".source")
}

const journalSuffix = ".journal"

// openJournal opens that of a transfer with a device.
func (d *Daemon) openJournal(e *entry) (*transfer.Journal, error) {
	shown, _ := d.table.look(e)
	device, err := identity.ParseDeviceID(shown.Peer.Device)
	if err != nil {
		return nil, err
	}
	return transfer.OpenJournal(d.journalPath(&shown), device)
}

// tidy removes what a transfer that is over needs no more. Its record stays.
func (d *Daemon) tidy(t *Transfer) {
	err := transfer.RemoveJournal(d.journalPath(t))
	if t.Direction == "receive" {
		err = errors.Join(err, d.discard(t))
		if rm := os.Remove(d.listPath(t.ID)); rm != nil && !os.IsNotExist(rm) {
			err = errors.Join(err, rm)
		}
	} else if rm := os.Remove(d.sourcePath(t.ID)); rm != nil && !os.IsNotExist(rm) {
		err = errors.Join(err, rm)
	}
	if err != nil {
		d.log.Warn("what is left of a transfer cannot be removed", "transfer", t.ID, "error", err)
	}
}

// discard removes what has come, from the folder of the contact it came from.
func (d *Daemon) discard(t *Transfer) error {
	device, err := identity.ParseDeviceID(t.Peer.Device)
	if err != nil {
		return err
	}
	to := []byte(nil)
	if e := d.table.byID(t.ID); e != nil {
		_, keep := d.table.record(e)
		to = keep.To
	}
	dir, done, err := d.folderFor(device, to)
	if err != nil {
		return err
	}
	defer done()
	return dir.Discard(t.ID)
}

// forgetLater drops all that is known of an old transfer.
func (d *Daemon) forgetLater(t Transfer) {
	d.spawn(func() { d.forgetTransfer(t) })
}

func (d *Daemon) forgetTransfer(t Transfer) {
	d.tidy(&t)
	if err := d.store.Delete(t.ID); err != nil {
		d.log.Error("a transfer cannot be forgotten", "transfer", t.ID, "error", err)
	}
}

// collectFolders looks through the folder of the node and those of contacts.
func (d *Daemon) collectFolders(keep func(id string) bool) (removed int) {
	folders := map[string]bool{}
	for _, c := range d.contacts.List() {
		folders[c.Policy.Downloads] = true
	}
	delete(folders, "")
	n, err := d.downloads.Collect(keep)
	removed += n
	for folder := range folders {
		if info, stat := os.Stat(folder); stat != nil || !info.IsDir() {
			continue // not made yet, or not there now
		}
		dir, open := transfer.OpenDir(folder)
		if open != nil {
			err = errors.Join(err, open)
			continue
		}
		n, wrong := dir.Collect(keep)
		removed, err = removed+n, errors.Join(err, wrong, dir.Close())
	}
	if err != nil {
		d.log.Warn("a download folder cannot be looked through", "error", err)
	}
	return removed
}

// collect removes what transfers have left that nobody knows any more, and returns how many things it removed.
func (d *Daemon) collect() int {
	known := map[string]bool{}
	for _, t := range d.table.list(nil) {
		known[t.Direction+"-"+t.ID] = t.State != StateDone && t.State != StateDeclined
	}
	removed := d.collectFolders(func(id string) bool { return known["receive-"+id] })
	entries, err := os.ReadDir(d.transfers)
	if err != nil {
		return removed
	}
	for _, f := range entries {
		name, _, ok := strings.Cut(f.Name(), ".")
		if !ok || known[name] || !strings.HasPrefix(name, "send-t-") && !strings.HasPrefix(name, "receive-t-") {
			continue
		}
		if os.Remove(filepath.Join(d.transfers, f.Name())) == nil {
			removed++
		}
	}
	return removed
}
