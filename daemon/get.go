package daemon

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

const (
	// maxSources is how many devices are asked, one after the other.
	maxSources = 64

	// sourceGone is how long a source may be away that was sending, before the next is asked. Where there is no other it is waited for.
	sourceGone = 15 * time.Second

	askTimeout = 20 * time.Second // to reach a source, where there are others
)

// GetRequest asks for something again that was announced earlier.
type GetRequest struct {
	What string `json:"what"`           // PEER:TRANSFER, or a file's SHA3-256
	From string `json:"from,omitempty"` // for a digest: a contact, or any [the devices of the own account, then any]
}

// getting is what the store has of a transfer that this side has asked for.
type getting struct {
	Interaction  string              `json:"interaction,omitempty"`
	Conversation string              `json:"conversation,omitempty"`
	SHA3         string              `json:"sha3,omitempty"`
	Sources      []identity.DeviceID `json:"sources"`
	Files        []fileDigest        `json:"files,omitempty"` // what was promised
}

// Get asks for what was announced earlier, from whichever device has it, one after the other until one has sent it whole.
func (d *Daemon) Get(req GetRequest) (Transfer, error) {
	g, err := d.sourcesOf(req)
	if err != nil {
		return Transfer{}, err
	}
	t := Transfer{ID: transfer.NewID(), Direction: "receive", State: StateConnecting, Peer: d.refOf(g.Sources[0])}
	e, saved, err := d.table.add(t, kept{Accepted: true, Get: g})
	if err != nil {
		return Transfer{}, err
	}
	saved()
	d.startGet(e)
	shown, _ := d.table.look(e)
	return shown, nil
}

// sourcesOf reads what is asked for, and lists who may have it.
func (d *Daemon) sourcesOf(req GetRequest) (*getting, error) {
	g := new(getting)
	var from []PeerDevice
	own := func() {
		if me, ok := d.contacts.Own(); ok {
			from = append(from, me.meant(d.self)...)
		}
	}
	who := req.From
	if isDigest(req.What) {
		g.SHA3 = strings.ToLower(req.What)
	} else {
		i := strings.LastIndexByte(req.What, ':')
		if i < 0 || !transfer.ValidID(req.What[i+1:]) {
			return nil, cli.Errorf("E_USAGE", "%q is nothing to ask for", req.What).Because(errors.New("it is neither PEER:TRANSFER nor a file's SHA3-256")).
				Hint("the whole id of a transfer is in `node transfers ls` on a device that has it")
		}
		g.Interaction = req.What[i+1:]
		if who == "" {
			who = req.What[:i]
		}
	}
	if who == "any" || who == "" {
		own()
		from = append(from, d.contacts.each()...)
	} else {
		c, err := d.contacts.Resolve(who)
		if err != nil {
			return nil, err
		}
		from = c.meant(d.self)
		if g.Interaction != "" && c.Name != ownName {
			g.Conversation = conversationOf(d.contacts.ownParty(), c.party())
		}
		if !c.one && g.Interaction != "" {
			own() // a device of one's own may have it too
		}
	}
	for _, p := range from {
		if !slices.Contains(g.Sources, p.Device) && len(g.Sources) < maxSources && d.contacts.Authorized(p.Device) == nil {
			g.Sources = append(g.Sources, p.Device)
		}
	}
	// Those with whom there is a session are asked first: they answer at once.
	here := map[identity.DeviceID]int{}
	for _, s := range d.manager.Sessions() {
		if s.State == connmgr.StateConnected {
			here[s.Peer] = 1
		}
	}
	slices.SortStableFunc(g.Sources, func(a, b identity.DeviceID) int { return here[b] - here[a] })
	if len(g.Sources) == 0 {
		return nil, cli.Errorf("E_PEER_UNKNOWN", "there is nobody to ask").Hint("see `node contact ls` and `node device ls`")
	}
	return g, nil
}

func (d *Daemon) startGet(e *entry) {
	d.spawn(func() { d.getTask(e) })
}

// getTask asks one device after the other.
func (d *Daemon) getTask(e *entry) {
	_, keep := d.table.record(e)
	sources := keep.Get.Sources
	var last error
	if len(sources) > 1 {
		if last = d.gather(e); last == nil || d.ctx.Err() != nil {
			return
		}
		if d.table.metFull(e) {
			d.table.update(e, func(e *entry) { e.shown.State, e.shown.Error = StateQueued, explain(last, e.shown.Peer.Name) })
			d.awaitRoom(e, d.startGet)
			return
		}
		if !gatherable(last) || !d.nothingCame(e) {
			sources = nil // what has come is kept for a retry
		}
	}
	for n, source := range sources {
		if d.ctx.Err() != nil {
			return
		}
		d.table.reopen(e, func(e *entry) {
			e.shown.Peer, e.shown.State, e.shown.Error, e.full = d.refOf(source), StateConnecting, nil, false
		})
		err := d.askFor(e, source)
		if err == nil {
			err = d.awaitGot(e, n+1 < len(sources))
		}
		if err == nil {
			return // it is here, or somebody on this side has ended it
		}
		if d.table.metFull(e) { // where it is
			d.awaitRoom(e, d.startGet)
			return
		}
		last = err
		d.log.Info("a device did not send what was asked for", "transfer", e.shown.ID, "peer", d.contacts.NameOf(source), "error", err)
		d.giveUpSource(e)
	}
	if d.ctx.Err() != nil {
		return
	}
	d.table.reopen(e, func(e *entry) {
		now := time.Now()
		e.shown.State, e.shown.Ended = StateFailed, &now
		e.shown.Error = explain(last, e.shown.Peer.Name)
	})
}

// nothingCame tells whether no chunk of what was asked for is here.
func (d *Daemon) nothingCame(e *entry) bool {
	journal, err := d.openJournal(e)
	if err != nil {
		return true
	}
	defer journal.Close()
	return journal.Bytes() == 0
}

// askFor sends the request to one device. It returns when that device has said that it offers it.
func (d *Daemon) askFor(e *entry, source identity.DeviceID) error {
	shown, keep := d.table.record(e)
	patience := answerTimeout
	if len(keep.Get.Sources) > 1 {
		patience = askTimeout
	}
	answer, err := d.askHolder(d.ctx, source, keep.Get, shown.ID, patience)
	if err != nil {
		return err
	}
	d.table.reopen(e, func(e *entry) {
		again := *e.kept.Get
		again.Files = answer.Files[:min(len(answer.Files), maxSummed)]
		e.kept.Get = &again
	})
	return nil
}

// askHolder asks one device to offer something under the given id; patience is for reaching it.
func (d *Daemon) askHolder(ctx context.Context, source identity.DeviceID, g *getting, id string, patience time.Duration) (answer dataAnswer, err error) {
	name := d.contacts.NameOf(source)
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	reach, done := context.WithTimeout(ctx, patience)
	defer done()
	ch, _, err := d.manager.Connect(reach, source, requestChannel)
	if err != nil {
		return answer, explain(err, name)
	}
	defer ch.Close()
	stop := context.AfterFunc(ctx, func() { _ = ch.Close() })
	defer stop()
	_ = ch.SetDeadline(time.Now().Add(answerTimeout))
	req := dataRequest{
		Type: requestType, Conversation: g.Conversation, Interaction: g.Interaction, SHA3: g.SHA3, DeviceID: d.self.String(), Transfer: id,
	}
	line, _ := json.Marshal(req)
	if _, err := ch.Write(line); err != nil {
		return answer, explain(err, name)
	}
	_ = ch.CloseWrite()
	raw, err := io.ReadAll(io.LimitReader(ch, maxRequestSums+1))
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil {
		return answer, cli.Errorf("E_NO_PATH", "%s did not answer the request", name).Because(err)
	}
	if answer.Status != "offered" {
		return answer, cli.Errorf("E_DENIED", "%s does not send it", name).Because(errors.New(printable(answer.Reason))).
			Hint("was it announced to this account, and is it still there?")
	}
	if g.SHA3 != "" {
		if len(answer.Files) != 1 || answer.Files[0].SHA3 != g.SHA3 {
			return answer, cli.Errorf("E_INTEGRITY", "%s offers another file", name)
		}
	}
	return answer, nil
}

// printable makes a peer's words fit for a log and a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 200)])
}

// awaitGot waits until the transfer is over. A source that is away too long is given up where there are others.
func (d *Daemon) awaitGot(e *entry, others bool) error {
	var away *time.Timer
	defer func() {
		if away != nil {
			away.Stop()
		}
	}()
	for {
		shown, changed := d.table.look(e)
		switch shown.State {
		case StateQueued:
			if shown.Error != nil && shown.Error.Code != "E_NO_PATH" {
				return shown.Error
			}
		case StateDone, StateCancelled, StateDeclined:
			return nil
		}
		idle := shown.State == StateQueued || shown.State == StateConnecting || shown.State == StatePaused && shown.PausedBy == ""
		var over <-chan time.Time
		if idle && others {
			if away == nil {
				away = time.NewTimer(sourceGone)
			}
			over = away.C
		} else if away != nil {
			away.Stop()
			away = nil
		}
		select {
		case <-changed:
		case <-over:
			return cli.Errorf("E_PEER_SILENT", "%s went away", shown.Peer.Name)
		case <-d.ctx.Done():
			return nil
		}
	}
}

// giveUpSource ends what is going on with the source, and forgets what has come from it.
func (d *Daemon) giveUpSource(e *entry) {
	ctx, r := d.table.begin(d.ctx, e, errTakenOver)
	defer d.table.finish(e, r)
	_ = ctx
	shown, _ := d.table.look(e)
	d.tidy(&shown)
}

// checkGot compares what has come with what was promised: the file's SHA3-256, not only the wire's digest.
func (d *Daemon) checkGot(dir *transfer.Dir, g *getting, offered []transfer.Entry, names []string) error {
	if len(g.Files) == 0 {
		return &transfer.Error{Kind: transfer.ErrIntegrity, By: transfer.Local, Detail: "the holder gave no digest"}
	}
	want, buf := map[string]string{}, make([]byte, sumBuffer)
	for _, f := range g.Files {
		want[f.Path] = f.SHA3
	}
	root := -1
	for _, x := range offered {
		_, rest, inside := strings.Cut(x.Path, "/")
		if !inside {
			root++
		}
		sum, promised := want[x.Path]
		if x.Kind != transfer.File || !promised || root < 0 || root >= len(names) {
			if x.Kind == transfer.File && len(g.Files) < maxSummed {
				return &transfer.Error{Kind: transfer.ErrIntegrity, By: transfer.Local, Detail: "a file that was not promised: " + x.Path}
			}
			continue
		}
		path := filepath.Join(dir.Path(), names[root])
		if inside {
			path = filepath.Join(path, filepath.FromSlash(rest))
		}
		got, ok := d.sumFile(path, buf, nil)
		if !ok || hex.EncodeToString(got[:]) != sum {
			return &transfer.Error{Kind: transfer.ErrIntegrity, By: transfer.Local, Detail: fmt.Sprintf("sha3-256 of %s is not what was asked for", x.Path)}
		}
	}
	return nil
}

// removeGot takes away what came and is not what was asked for.
func removeGot(dir *transfer.Dir, names []string) {
	for _, name := range names {
		_ = os.RemoveAll(filepath.Join(dir.Path(), name))
	}
}
