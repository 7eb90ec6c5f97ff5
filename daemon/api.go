package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/httpserve"
)

// Limits of the local API. Only this user's programs reach it, but one of them may be broken.
const (
	maxRequestBody = 64 << 10         // a path and a name
	maxWait        = 30 * time.Second // one long poll; clients ask again

	// lookAgain is how often a long poll looks by itself: the phases inside package transfer change without a word.
	lookAgain = 100 * time.Millisecond
)

// sendRequest asks for a transfer.
type sendRequest struct {
	Paths    []string `json:"paths"`               // absolute
	RawPaths [][]byte `json:"raw_paths,omitempty"` // more of them, in base64: one that is not UTF-8 is no string of JSON
	Peer     string   `json:"peer"`
	SendOptions
}

// newSendRequest puts the paths, in their order, where they stay what they are.
func newSendRequest(opt SendOptions, peer string, paths []string) sendRequest {
	if !slices.ContainsFunc(paths, func(p string) bool { return !utf8.ValidString(p) }) {
		return sendRequest{Paths: paths, Peer: peer, SendOptions: opt}
	}
	req := sendRequest{Paths: []string{}, Peer: peer, SendOptions: opt}
	for _, p := range paths {
		req.RawPaths = append(req.RawPaths, []byte(p))
	}
	return req
}

// all returns every path.
func (r sendRequest) all() []string {
	paths := r.Paths
	for _, p := range r.RawPaths {
		paths = append(paths, string(p))
	}
	return paths
}

type contactRequest struct {
	Name   string `json:"name"`
	Device string `json:"device"`
}

type declineRequest struct {
	Reason string `json:"reason"`
}

func (d *Daemon) postContact(r *http.Request) (any, error) {
	var req contactRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	o, err := d.AddContact(req.Name, req.Device)
	if err == nil {
		d.events.publish(Event{Type: EventContact, What: "added", Peer: &o.PeerRef, Contact: &o})
	}
	return o, err
}

// addContact checks and notes a contact; the daemon and `contact add` without one use it alike.
func addContact(c *Contacts, self identity.DeviceID, name, device string) (ContactObject, error) {
	id, err := identity.ParseDeviceID(device)
	if err != nil {
		return ContactObject{}, cli.Errorf("E_PEER_UNKNOWN", "this is not a device id").Because(err).
			Hint("copy the id from `node id` on that device")
	}
	if id == self {
		return ContactObject{}, cli.Errorf("E_USAGE", "this is the device's own id").Hint("copy the id from `node id` on the other device")
	}
	if err := c.Add(name, id); err != nil {
		return ContactObject{}, err
	}
	have, err := c.Find(name)
	return have.object(), err
}

func (d *Daemon) postTransfer(r *http.Request) (any, error) {
	var req sendRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.SendWith(req.SendOptions, req.Peer, req.all()...)
}

func (d *Daemon) postAccept(r *http.Request) (any, error) {
	var req AcceptRequest
	if r.ContentLength != 0 {
		if err := read(r, &req); err != nil {
			return nil, err
		}
	}
	return d.AcceptWith(r.PathValue("id"), req)
}

// getTransfer answers at once, or with ?after=STATE&wait=DURATION when the state has changed from the one named or the time is over.
func (d *Daemon) getTransfer(r *http.Request) (any, error) {
	group := d.table.group(r.PathValue("id"))
	var e *entry
	if group == nil {
		var err error
		if e, err = d.table.find(r.PathValue("id")); err != nil {
			return nil, err
		}
	}
	look := func() (Transfer, <-chan struct{}) {
		if group != nil {
			return d.groupView(group), nil
		}
		return d.table.look(e)
	}
	shown, changed := look()
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	if wait <= 0 {
		return shown, nil
	}
	over := time.NewTimer(min(wait, maxWait))
	defer over.Stop()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for string(shown.State) == r.URL.Query().Get("after") {
		select {
		case <-changed:
		case <-tick.C:
		case <-over.C:
			return shown, nil
		case <-r.Context().Done():
			shown, _ = look() // the node goes down, and every transfer has ended
			return shown, nil
		}
		shown, changed = look()
	}
	return shown, nil
}

func read(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return cli.Errorf("E_USAGE", "the request cannot be read").Because(err)
	}
	return nil
}

func reply(w http.ResponseWriter, object any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var e *cli.Error
		if !errors.As(err, &e) {
			e = cli.Errorf("E_UNEXPECTED", "%v", err)
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		object = map[string]*cli.Error{"error": e}
	}
	_ = json.NewEncoder(w).Encode(object)
}

// listenSocket opens the local API's socket, 0600. A socket file where nobody answers is left from a dead process, and replaced.
func listenSocket(path string) (net.Listener, error) {
	// sockaddr_un holds 108 bytes with the closing zero.
	if len(path) > 107 {
		return nil, cli.Errorf("E_CONFIG", "the socket's path is too long").
			Because(fmt.Errorf("%s has %d bytes, the system takes 107", path, len(path))).
			Hint("use a shorter --home, or --socket PATH")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, cli.Errorf("E_LOCAL_IO", "cannot make the socket's folder").Because(err).Hint("name another place: --socket PATH")
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, cli.Errorf("E_CONFIG", "cannot listen on %s", path).Because(errors.New("a file that is no socket is there")).
				Hint("move it away, or name another place: --socket PATH")
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, explainListen(syscall.EADDRINUSE, "the local API", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, cli.Errorf("E_LOCAL_IO", "cannot replace the old socket").Because(err).Hint("name another place: --socket PATH")
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, explainListen(err, "the local API", path)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, cli.Errorf("E_LOCAL_IO", "cannot protect the socket").Because(err)
	}
	return l, nil
}

// partingGrace is for answers under way when the node goes down: what ends says so to who waits for it, also on a busy machine.
const partingGrace = 3 * time.Second

// serveAPI answers until ctx ends.
func serveAPI(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // it is not the daemon's log, and has one line a second while descriptors are short
	}
	return httpserve.Until(ctx, srv, partingGrace, func() error { return srv.Serve(l) })
}
