package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// Inbox lists the offers that wait for a decision.
func (d *Daemon) Inbox() TransferList {
	return TransferList{envelope("inbox"), d.table.list(func(t *Transfer) bool {
		return t.Direction == "receive" && t.State == StateOffered
	})}
}

// AcceptRequest says how an offer is taken. Its zero value takes all of it into the folder for downloads, and replaces nothing.
type AcceptRequest struct {
	To       string   `json:"to,omitempty"`       // absolute path of a folder
	Only     []string `json:"only,omitempty"`     // patterns of names and paths; the rest is left at the sender
	Existing string   `json:"existing,omitempty"` // what becomes of a name that is taken: rename, overwrite or skip [rename]
}

// existing has the words of AcceptRequest.Existing.
var existing = map[string]transfer.Existing{"": transfer.Rename, "rename": transfer.Rename, "overwrite": transfer.Overwrite, "skip": transfer.Skip}

func (r AcceptRequest) check() error {
	if r.To != "" && !filepath.IsAbs(r.To) {
		return cli.Errorf("E_USAGE", "the path %q is not absolute", r.To)
	}
	if _, ok := existing[r.Existing]; !ok {
		return cli.Errorf("E_USAGE", "a name that is taken is dealt with by rename, overwrite or skip, not by %q", r.Existing)
	}
	if err := transfer.CheckPatterns(r.Only); err != nil {
		return cli.Errorf("E_USAGE", "this does not say what to take").Because(err).Hint("a pattern is a name or a path in which * and ? match")
	}
	return nil
}

// AcceptOffer takes an offer that waits in the inbox.
func (d *Daemon) AcceptOffer(id string) (Transfer, error) { return d.AcceptWith(id, AcceptRequest{}) }

// AcceptWith is AcceptOffer with options.
func (d *Daemon) AcceptWith(id string, req AcceptRequest) (Transfer, error) {
	if err := req.check(); err != nil {
		return Transfer{}, err
	}
	return d.decide(id, decision{accept: true, AcceptRequest: req})
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
	if dec.accept {
		if err := d.nothingChosen(e, dec.Only); err != nil {
			return Transfer{}, err
		}
		d.table.update(e, func(e *entry) { e.kept.To, e.kept.Only, e.kept.Existing = []byte(dec.To), dec.Only, dec.Existing })
		_, changed = d.table.look(e)
	}
	select {
	case e.decide <- dec: // a run that begins at this moment finds it too
	default:
		return Transfer{}, cli.Errorf("E_USAGE", "the offer %s has been decided already", shown.ID)
	}
	if !d.table.running(e) {
		return d.decideAlone(e, dec), nil
	}
	// The first change may be of something else than the state, such as the reason that is kept.
	for late := time.After(5 * time.Second); shown.State == StateOffered && d.table.running(e); {
		select {
		case <-changed:
		case <-late:
			return shown, nil
		}
		shown, changed = d.table.look(e)
	}
	shown, _ = d.table.look(e)
	if dec.accept && (shown.State == StateCancelled || shown.State == StateOffered && !d.table.running(e)) {
		return Transfer{}, cli.Errorf("E_USAGE", "the offer %s was withdrawn", shown.ID)
	}
	return shown, nil
}

// decideAlone notes a decision on an offer whose sender is not there now. It is asked to come again, or told when it does.
func (d *Daemon) decideAlone(e *entry, dec decision) Transfer {
	if dec.accept {
		d.table.update(e, func(e *entry) { e.kept.Accepted, e.shown.State = true, StateQueued })
		d.startAgain(e)
	} else {
		d.table.update(e, func(e *entry) {
			e.kept.Reason = dec.why
			e.shown.State, e.shown.Error = StateDeclined, explain(&transfer.Error{Kind: transfer.ErrDeclined, By: transfer.Local, Detail: dec.why}, "")
		})
	}
	shown, _ := d.table.look(e)
	return shown
}

// nothingChosen refuses patterns that no entry of the offer matches, where its list is here.
func (d *Daemon) nothingChosen(e *entry, only []string) error {
	d.table.mu.Lock()
	entries := e.entries
	d.table.mu.Unlock()
	if len(only) == 0 || entries == nil || transfer.Chosen(entries, only) > 0 {
		return nil
	}
	return cli.Errorf("E_USAGE", "nothing in the offer matches").Because(errors.New("chosen were " + strings.Join(only, ", "))).Hint("see what is in it: node inbox show")
}

// Limits of the list that is kept of an offer that waits, so that it can be looked at while its sender is away: 256 offers of 512 KiB are 128 MiB at worst.
const (
	maxKeptEntries = maxShownEntries
	maxKeptBytes   = 512 << 10
)

// keepList writes down what is in an offer.
func (d *Daemon) keepList(e *entry, entries []transfer.Entry) {
	shown, _ := d.table.look(e)
	list, size := entryObjects(entries), 0
	for i := range list {
		if size += len(list[i].Path) + len(list[i].Target) + 100; size > maxKeptBytes {
			list = list[:i]
			break
		}
	}
	raw, err := json.Marshal(list)
	if err == nil {
		err = replaceFile(d.listPath(shown.ID), raw)
	}
	if err != nil {
		d.log.Warn("what is in an offer cannot be written down", "transfer", shown.ID, "error", err)
	}
}

// keptList reads it; nil where there is none.
func (d *Daemon) keptList(id string) (list []EntryObject) {
	raw, err := os.ReadFile(d.listPath(id))
	if err != nil || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

func (d *Daemon) listPath(id string) string {
	return filepath.Join(d.transfers, "receive-"+id+".offer")
}
