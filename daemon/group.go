package daemon

import (
	"errors"
	"strings"

	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// DeviceTransfer is how a transfer to several devices stands with one of them.
type DeviceTransfer struct {
	ID       string     `json:"id"` // of the transfer to that device alone
	Peer     PeerRef    `json:"peer"`
	State    State      `json:"state"`
	Bytes    int64      `json:"bytes"`
	RateBPS  int64      `json:"rate_bps"`
	ETA      int64      `json:"eta_ns,omitempty"`
	Resent   int64      `json:"resent_bytes"`
	Unwanted int64      `json:"unwanted_bytes,omitempty"`
	PausedBy string     `json:"paused_by,omitempty"`
	Path     *Path      `json:"path,omitempty"`
	Error    *cli.Error `json:"error,omitempty"`
}

// sendToAll begins one transfer to each of the devices. They are one to whoever sent it: a group.
func (d *Daemon) sendToAll(to Contact, devices []PeerDevice, src *transfer.Source, keep kept) (Transfer, error) {
	group := transfer.NewID()
	var begun []*entry
	var saves []func()
	for _, dev := range devices {
		t := Transfer{ID: transfer.NewID(), Group: group, Interaction: group, Direction: "send", State: StateConnecting, Peer: PeerRef{dev.Name, dev.Device.String()}}
		describe(&t, src)
		keep.Options.describe(&t)
		e, saved, err := d.enterSend(t, src, keep)
		if err != nil {
			for _, e := range begun {
				shown, _ := d.table.look(e)
				d.table.drop(e)
				d.forgetTransfer(shown)
			}
			return Transfer{}, err
		}
		begun, saves = append(begun, e), append(saves, saved)
	}
	for _, e := range begun {
		d.startSending(e, nil) // each has a source of its own, which serves one sending at a time
	}
	for _, saved := range saves {
		saved()
	}
	return d.groupView(begun), nil
}

// enterSend writes down what is sent, and enters the transfer; saved waits until that is on the disk too.
func (d *Daemon) enterSend(t Transfer, src *transfer.Source, keep kept) (e *entry, saved func(), err error) {
	if err := src.Save(d.sourcePath(t.ID)); err != nil {
		return nil, nil, cli.Errorf("E_LOCAL_IO", "cannot write down what is sent").Because(err).Hint("is there room in %s?", d.transfers)
	}
	if e, saved, err = d.table.add(t, keep); err != nil {
		d.tidy(&t)
	}
	return e, saved, err
}

// advance orders the states by how far a transfer has come. What ended badly comes first: any other device's state is the better news.
var advance = map[State]int{
	StateCancelled: 0, StateFailed: 1, StateDeclined: 2, StatePaused: 3, StateQueued: 4, StateConnecting: 5, StateOffered: 6,
	StateReceiving: 7, StateSending: 7, StateVerifying: 8, StateDone: 9,
}

// groupView is a transfer to several devices as its sender sees it: the most advanced state of any of them, and an error only where all have one. The truth about each
// is beside it.
func (d *Daemon) groupView(entries []*entry) Transfer {
	var views []Transfer
	for _, e := range entries {
		shown, _ := d.table.look(e)
		views = append(views, shown)
	}
	return optimistic(views, d.contactName)
}

// contactName is what the contact is called that a device belongs to.
func (d *Daemon) contactName(p PeerRef) string {
	name, _, _ := strings.Cut(p.Name, ":")
	return name
}

func optimistic(views []Transfer, contact func(PeerRef) string) Transfer {
	best, failed := views[0], true
	for _, v := range views {
		if advance[v.State] > advance[best.State] {
			best = v
		}
		failed = failed && v.Error != nil
	}
	out := best
	out.ID, out.Group, out.Peer = best.Group, "", PeerRef{contact(best.Peer), best.Peer.Device}
	if !failed {
		out.Error = nil
	}
	for _, v := range views {
		out.Devices = append(out.Devices, DeviceTransfer{
			ID: v.ID, Peer: v.Peer, State: v.State, Bytes: v.Bytes, RateBPS: v.RateBPS, ETA: v.ETA, Resent: v.Resent, Unwanted: v.UnwantedBytes, PausedBy: v.PausedBy, Path: v.Path, Error: v.Error,
		})
		if v.Created.Before(out.Created) {
			out.Created = v.Created
		}
	}
	return out
}

// group returns the transfers of the group whose id is, or alone begins with, the given one; none where there is no such group.
func (t *table) group(id string) (list []*entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := ""
	for _, e := range t.entries {
		g := e.shown.Group
		if g == "" || g != id && (len(id) < 4 || !strings.HasPrefix(g, id)) {
			continue
		}
		if found != "" && found != g {
			return nil // more than one
		}
		found, list = g, append(list, e)
	}
	return list
}

// onAll does to each transfer of a group what is asked for the group; those that have ended are left alone. It reports false where the id is no group's.
func (d *Daemon) onAll(id string, do func(string) (Transfer, error)) (Transfer, bool, error) {
	all := d.table.group(id)
	if all == nil {
		return Transfer{}, false, nil
	}
	var errs []error
	done := 0
	for _, e := range all {
		shown, _ := d.table.look(e)
		if _, err := do(shown.ID); err != nil {
			errs = append(errs, err)
		} else {
			done++
		}
	}
	if done == 0 {
		return Transfer{}, true, errors.Join(errs[0])
	}
	return d.groupView(all), true, nil
}

// listed is the table as it is listed: a group before the first of its transfers.
func (d *Daemon) listed() []Transfer {
	var list []Transfer
	seen := map[string]bool{}
	for _, t := range d.table.list(nil) {
		if t.Group != "" && !seen[t.Group] {
			seen[t.Group] = true
			list = append(list, d.groupView(d.table.group(t.Group)))
		}
		list = append(list, t)
	}
	if list == nil {
		list = []Transfer{}
	}
	return list
}
