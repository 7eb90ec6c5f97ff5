package daemon

import (
	"cmp"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/transfer"
)

// The channel and the message by which a device asks for what was announced earlier, docs/protocol/request.md.
const (
	requestChannel = "data-transfer-request"
	requestType    = "application/data-transfer-request+json"

	maxRequest     = 4 << 10
	maxRequestSums = 512 << 10        // of an answer: 1,000 files of a path and a digest each
	sumBuffer      = 256 << 10        // for hashing
	maxSummed      = 1000             // files whose digests an answer has
	requestTimeout = 30 * time.Second // for the request
	answerTimeout  = 5 * time.Minute  // for the answer: the holder may have to hash the file

	// maxRequested is how many transfers one device may have asked for that are not over.
	maxRequested = 16
)

// dataRequest asks for a transfer that was announced earlier, or for a file by its content.
type dataRequest struct {
	Type         string `json:"type"`
	Conversation string `json:"conversation,omitempty"`
	Interaction  string `json:"interaction,omitempty"`
	SHA3         string `json:"sha3,omitempty"`
	DeviceID     string `json:"deviceId"`
	Transfer     string `json:"transfer"` // the id under which the asker wants it offered
}

// dataAnswer says whether it is offered.
type dataAnswer struct {
	Status string       `json:"status"` // offered or declined
	Reason string       `json:"reason,omitempty"`
	Files  []fileDigest `json:"files,omitempty"`
}

type fileDigest struct {
	Path string `json:"path"` // as in the offer
	SHA3 string `json:"sha3"`
}

// conversationOf names what passes between two parties: accounts, or devices without one.
func conversationOf(a, b identity.DeviceID) string {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	sum := sha3.Sum256(append(append([]byte("traverse conversation 1\n"), a[:]...), b[:]...))
	return hex.EncodeToString(sum[:])
}

// ownParty is who this device is in a conversation.
func (c *Contacts) ownParty() identity.DeviceID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.own.list != nil {
		return c.own.Account
	}
	return c.self
}

// member tells whether a device is one of the party's that a transfer is with, or one of this device's own account.
func (c *Contacts) member(asker identity.DeviceID, t *Transfer) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.own.list != nil {
		if _, mine := c.own.list.Find(asker); mine {
			return true
		}
	}
	with, err := identity.ParseDeviceID(t.Peer.Device)
	have, ok := c.byDeviceLocked(asker)
	return err == nil && ok && (have.has(with) || slices.Contains(have.Revoked, with))
}

// Why a request is not met. What the asker may not have looks like what is not there.
var (
	errNotHeld  = errors.New("nothing of that kind is held here for this device")
	errGoneFile = errors.New("it is no longer here as it was")
	errBusyHere = errors.New("busy")
)

var errMalformed = errors.New("the request is malformed")

// parseRequest reads a request of the asker's. What it returns names one thing, and a fresh id.
func parseRequest(raw []byte, asker identity.DeviceID) (req dataRequest, err error) {
	if len(raw) > maxRequest || json.Unmarshal(raw, &req) != nil {
		return dataRequest{}, errMalformed
	}
	switch {
	case req.Type != requestType, req.DeviceID != asker.String(), !transfer.ValidID(req.Transfer):
	case (req.SHA3 == "") == (req.Interaction == ""):
	case req.SHA3 != "" && !isDigest(req.SHA3), req.Interaction != "" && !transfer.ValidID(req.Interaction):
	case req.Conversation != "" && !isDigest(req.Conversation):
	default:
		return req, nil
	}
	return dataRequest{}, errMalformed
}

// requestTask meets a request.
func (d *Daemon) requestTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(requestTimeout))
	raw, err := io.ReadAll(io.LimitReader(ch, maxRequest+1))
	if err != nil {
		return
	}
	answer := dataAnswer{Status: "offered"}
	var e *entry
	var src *transfer.Source
	req, err := parseRequest(raw, in.Peer)
	if err == nil {
		e, src, err = d.requested(in.Peer, req)
	}
	if err == nil {
		if answer.Files, err = d.digestsOf(src); err != nil {
			err = errGoneFile
		}
	}
	if err == nil {
		e, err = d.offerAgain(in, req, e, src)
	}
	if err != nil {
		d.logFor(in.Peer, "a request was declined", "reason", err)
		answer = dataAnswer{Status: "declined", Reason: err.Error()}
	}
	_ = ch.SetDeadline(time.Now().Add(requestTimeout))
	line, _ := json.Marshal(answer)
	if _, err := ch.Write(line); err != nil || ch.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(ch, 1)) // its end says that the answer was read
	if answer.Status == "offered" {
		d.startSending(e, nil)
	}
}

// requested finds what a request is about, and where it is.
func (d *Daemon) requested(asker identity.DeviceID, req dataRequest) (*entry, *transfer.Source, error) {
	if req.SHA3 != "" {
		return d.requestedContent(asker, req.SHA3)
	}
	for _, e := range d.table.all() {
		shown, keep := d.table.record(e)
		if shown.ID != req.Interaction && shown.Interaction != req.Interaction || req.Interaction == "" || !d.contacts.member(asker, &shown) {
			continue
		}
		with, _ := identity.ParseDeviceID(shown.Peer.Device)
		if req.Conversation != "" && req.Conversation != conversationOf(d.contacts.ownParty(), d.contacts.partyOf(with)) {
			continue
		}
		var paths []string
		switch {
		case shown.Direction == "send":
			for _, p := range keep.Paths {
				paths = append(paths, string(p))
			}
		case shown.State != StateDone:
			continue
		case len(shown.Names) > 0:
			paths = shown.Names
		default:
			paths = []string{shown.File}
		}
		src, err := transfer.NewSource(paths...)
		if err != nil {
			return nil, nil, errGoneFile
		}
		return e, src, nil
	}
	return nil, nil, errNotHeld
}

// requestedContent finds a file by its digest, among those of transfers that the asker is a member of.
func (d *Daemon) requestedContent(asker identity.DeviceID, text string) (*entry, *transfer.Source, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 32 {
		return nil, nil, errMalformed
	}
	list, err := d.store.FindContent([32]byte(raw))
	if err != nil {
		return nil, nil, errNotHeld
	}
	why := errNotHeld
	for _, c := range list {
		e := d.table.byID(c.ID)
		if e == nil {
			continue
		}
		shown, _ := d.table.look(e)
		var path []byte
		if !d.contacts.member(asker, &shown) || json.Unmarshal(c.Place, &path) != nil {
			continue
		}
		src, err := transfer.NewSource(string(path))
		if err != nil || src.Files() != 1 || src.Entries()[0].Kind != transfer.File {
			why = errGoneFile
			continue
		}
		return e, src, nil
	}
	return nil, nil, why
}

// digestsOf hashes what is offered, the first files of it. They are what the asker checks.
func (d *Daemon) digestsOf(src *transfer.Source) ([]fileDigest, error) {
	var out []fileDigest
	buf := make([]byte, sumBuffer)
	for i, x := range src.Entries() {
		if x.Kind != transfer.File {
			continue
		}
		if len(out) == maxSummed {
			break
		}
		mod := time.Unix(0, x.Mod)
		sum, ok := d.known.get(src.Path(i), x.Size, mod)
		if !ok {
			if sum, ok = d.sumFile(src.Path(i), buf, nil); !ok {
				return nil, os.ErrNotExist
			}
			d.known.put(src.Path(i), x.Size, mod, sum)
		}
		out = append(out, fileDigest{x.Path, hex.EncodeToString(sum[:])})
	}
	return out, nil
}

// offerAgain enters a transfer to the asker, under the id that it chose.
func (d *Daemon) offerAgain(in *connmgr.Incoming, req dataRequest, from *entry, src *transfer.Source) (*entry, error) {
	if e := d.table.byID(req.Transfer); e != nil {
		shown, _ := d.table.look(e)
		if shown.Direction != "send" || shown.Peer.Device != in.Peer.String() || shown.State == StateDone {
			return nil, errors.New("there is another transfer of that id")
		}
		d.table.reopen(e, func(e *entry) { e.shown.State, e.shown.Error = StateQueued, nil })
		return e, nil // the asker was interrupted
	}
	open := d.table.of(in.Peer.String(), func(e *entry) bool { return e.kept.Requested && !e.shown.State.Ended() })
	if len(open) >= maxRequested {
		return nil, errBusyHere
	}
	keep := kept{Requested: true}
	for i := range src.Roots() {
		keep.Paths = append(keep.Paths, []byte(src.RootPath(i)))
	}
	shown, _ := d.table.look(from)
	t := Transfer{ID: req.Transfer, Interaction: cmp.Or(shown.Interaction, shown.ID), Direction: "send", State: StateConnecting, Peer: d.refOf(in.Peer)}
	describe(&t, src)
	d.logFor(in.Peer, "a request is met", "interaction", t.Interaction, "transfer", t.ID)
	e, saved, err := d.enterSend(t, src, keep)
	if err == nil {
		saved()
	}
	return e, err
}

// isDigest tells a file's SHA3-256 in hexadecimal.
func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}
