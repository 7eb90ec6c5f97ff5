package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/internal/cli"
	"traverse.internal/service"
)

// Limits of forwards.
const (
	maxForwards = 256              // of this side; each has a listener or a channel
	forwardOpen = 15 * time.Second // until a forwarded connection has its channel, beyond what a path to the peer may take
	forwardIdle = 24 * time.Hour   // of a connection, where --idle does not say otherwise
	rearmFirst  = time.Second      // between two attempts to have the peer listen again, doubled up to rearmLast
	rearmLast   = 30 * time.Second //
)

// The kinds of forward.
const (
	ForwardLocal  = "local"  // this side listens; connections go to what the peer exposes
	ForwardSOCKS  = "socks"  // the same, and each connection says where to
	ForwardUDP    = "udp"    // as local, for datagrams
	ForwardRemote = "remote" // the peer listens on its loopback; connections come to an address on this side
)

// ForwardRequest asks for a forward.
type ForwardRequest struct {
	ID     string        `json:"id,omitempty"` // empty: a new one
	Kind   string        `json:"kind"`
	Peer   string        `json:"peer"`
	Listen string        `json:"listen"`            // [HOST:]PORT, 0 for any, or unix:PATH
	To     string        `json:"to,omitempty"`      // local: HOST:PORT or a service's name; remote: PORT, HOST:PORT or unix:PATH
	Idle   time.Duration `json:"idle_ns,omitempty"` // [24h]
	Save   bool          `json:"save,omitempty"`
}

// ForwardObject is a forward: what forward commands print.
type ForwardObject struct {
	cli.Envelope
	ID       string     `json:"id"`
	Type     string     `json:"type"` // local, socks, remote
	Peer     PeerRef    `json:"peer"`
	Listen   string     `json:"listen"`
	To       string     `json:"to,omitempty"`
	State    string     `json:"state"` // listening, or connecting: the peer does not listen at the moment
	Saved    bool       `json:"saved"`
	Open     int64      `json:"open"`
	Total    uint64     `json:"total"`
	Failed   uint64     `json:"failed"`
	BytesIn  uint64     `json:"bytes_in"`
	BytesOut uint64     `json:"bytes_out"`
	Dropped  uint64     `json:"dropped,omitempty"` // datagrams that came faster than the peer took them
	Error    *cli.Error `json:"error,omitempty"`   // of the last connection that failed
}

// ForwardList is what `forward ls` prints.
type ForwardList struct {
	cli.Envelope
	Forwards []ForwardObject `json:"forwards"`
}

// forward is one of this side's forwards.
type forward struct {
	req    ForwardRequest
	peer   Contact
	worker forwardWorker  // local, udp and socks
	target service.Target // remote: where connections go
	cancel context.CancelCauseFunc
	ended  chan struct{}

	open  atomic.Int64 // remote: the counters that worker has otherwise
	total atomic.Uint64

	mu    sync.Mutex // guards the fields below
	bound string     // where it listens
	up    bool
	err   error
}

// forwardWorker is a *service.Forward or *service.Flows.
type forwardWorker interface {
	Serve(ctx context.Context) error
	Close() error
	Stats() *service.ForwardStats
	LastError() error
}

// forwards is the list of them. Safe for concurrent use.
type forwards struct {
	mu   sync.Mutex // guards list
	list []*forward
}

func (f *forwards) add(n *forward) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) >= maxForwards {
		return false
	}
	f.list = append(f.list, n)
	return true
}

func (f *forwards) remove(n *forward) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(have *forward) bool { return have == n })
}

func (f *forwards) all() []*forward {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

func (f *forwards) find(id string) *forward {
	for _, have := range f.all() {
		if have.req.ID == id {
			return have
		}
	}
	return nil
}

// newToken is the id of a forward: 40 bits, so that a peer cannot guess one it was not told.
func newToken() string { return "f-" + strings.ToLower(rand.Text()[:8]) }

// AddForward begins a forward.
func (d *Daemon) AddForward(req ForwardRequest) (ForwardObject, error) {
	to, err := d.contacts.Resolve(req.Peer)
	if err != nil {
		return ForwardObject{}, err
	}
	req.ID, req.Peer = newToken(), to.Device.String()
	f, err := d.startForward(req, to, false)
	if err != nil {
		return ForwardObject{}, err
	}
	d.events.publish(Event{Type: EventService, What: "forward " + req.ID + " began", Peer: &PeerRef{to.Name, to.Device.String()}})
	return d.forwardObject(f), d.saved.keepForward(req.ID, req.Save, req)
}

// startForward checks a request and starts what it asks for. A remote one is tried at once, unless it may come later.
func (d *Daemon) startForward(req ForwardRequest, to Contact, later bool) (*forward, error) {
	wrong := func(err error) error {
		return cli.Errorf("E_USAGE", "cannot forward %s to %s", req.Listen, req.To).Because(err).Hint("node forward -h")
	}
	if req.Idle == 0 {
		req.Idle = forwardIdle
		if req.Kind == ForwardUDP {
			req.Idle = service.DefaultFlowIdle
		}
	}
	f := &forward{req: req, peer: to, ended: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(d.ctx)
	f.cancel = cancel
	var task func()
	switch req.Kind {
	case ForwardLocal, ForwardSOCKS:
		var r service.Request
		if req.Kind == ForwardLocal {
			var err error
			if r, err = service.ParseDestination(req.To); err != nil {
				return nil, wrong(err)
			}
		}
		network, address, err := service.ParseListen(req.Listen)
		if err != nil {
			return nil, wrong(err)
		}
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, explainListen(err, "the forward", req.Listen)
		}
		f.bound, f.up = boundTo(l), true
		f.worker = &service.Forward{Listener: l, To: r, SOCKS: req.Kind == ForwardSOCKS, Idle: req.Idle, Open: d.opener(to)}
	case ForwardUDP:
		socket, r, err := listenUDP(req)
		if err != nil {
			return nil, err
		}
		f.bound, f.up = socket.LocalAddr().String(), true
		f.worker = &service.Flows{Socket: socket, To: r, Idle: req.Idle, Open: d.opener(to)}
	case ForwardRemote:
		var err error
		if f.target, err = service.ParseTarget(req.To); err == nil && f.target.Range.IsValid() {
			err = errors.New("a forward goes to one address")
		}
		if err == nil {
			_, _, err = service.ParseListen(req.Listen)
		}
		if err != nil {
			return nil, wrong(err)
		}
		f.bound = req.Listen
		task = func() { d.keepListening(ctx, f) }
	default:
		return nil, cli.Errorf("E_USAGE", "there is no kind of forward %q", req.Kind).Hint("node forward -h")
	}
	if f.worker != nil {
		task = func() {
			if err := f.worker.Serve(ctx); err != nil {
				f.note(false, err)
			}
		}
	}
	if !d.forwards.add(f) {
		f.stop()
		return nil, cli.Errorf("E_DENIED", "there are %d forwards, which is the most", maxForwards).Hint("end one: node forward rm ID")
	}
	if req.Kind == ForwardRemote && !later {
		ch, err := d.askToListen(ctx, f)
		if err != nil {
			d.forwards.remove(f)
			return nil, err
		}
		task = func() { d.whileListening(ctx, f, ch); d.keepListening(ctx, f) }
	}
	if !d.spawn(func() { defer close(f.ended); task() }) {
		f.stop()
		d.forwards.remove(f)
		return nil, cli.Errorf("E_CANCELLED", "the node is going down")
	}
	return f, nil
}

// listenUDP opens the socket of a forward of datagrams.
func listenUDP(req ForwardRequest) (*net.UDPConn, service.Request, error) {
	r, err := service.ParseFlow(req.To)
	var network, address string
	if err == nil {
		network, address, err = service.ParseListen(req.Listen)
	}
	if err == nil && network != "tcp" {
		err = errors.New("datagrams come to a port")
	}
	if err != nil {
		return nil, r, cli.Errorf("E_USAGE", "cannot forward %s to %s", req.Listen, req.To).Because(err).Hint("node forward -h")
	}
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, r, explainListen(err, "the forward", req.Listen)
	}
	return c.(*net.UDPConn), r, nil
}

// stop ends what was not started.
func (f *forward) stop() {
	f.cancel(nil)
	if f.worker != nil {
		f.worker.Close()
	}
}

func (f *forward) note(up bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = up
	if err != nil {
		f.err = err
	}
}

func boundTo(l net.Listener) string {
	if a, ok := l.Addr().(*net.UnixAddr); ok {
		return "unix:" + a.Name
	}
	return l.Addr().String()
}

// opener opens channels for a forward's connections.
func (d *Daemon) opener(to Contact) service.Opener {
	return func(ctx context.Context, r service.Request) (service.Stream, error) {
		ctx, cancel := context.WithTimeout(ctx, d.attemptTimeout()+forwardOpen)
		defer cancel()
		ch, _, err := d.openService(ctx, to, r, mux.Normal)
		if err != nil {
			return nil, denial{asError(err)}
		}
		return ch, nil
	}
}

// denial tells a SOCKS client a refusal from a failure.
type denial struct{ err *cli.Error }

// Denied says that the peer refused.
func (e denial) Denied() bool { return e.err.Code == "E_DENIED" || e.err.Code == "E_DECLINED" }

func (e denial) Error() string { return e.err.Error() }

// Unwrap gives the error as users see it.
func (e denial) Unwrap() error { return e.err }

// Forwards lists the forwards.
func (d *Daemon) Forwards() ForwardList {
	list := ForwardList{envelope("forwards"), []ForwardObject{}}
	for _, f := range d.forwards.all() {
		list.Forwards = append(list.Forwards, d.forwardObject(f))
	}
	return list
}

func (d *Daemon) forwardObject(f *forward) ForwardObject {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := ForwardObject{
		Envelope: envelope("forward"), ID: f.req.ID, Type: f.req.Kind, Peer: d.refOf(f.peer.Device), Listen: f.bound, To: f.req.To,
		State: "connecting", Saved: d.saved.hasForward(f.req.ID), Open: f.open.Load(), Total: f.total.Load(),
	}
	if f.up {
		o.State = "listening"
	}
	err := f.err
	if f.worker != nil {
		s := f.worker.Stats()
		o.Open, o.Total, o.Failed, o.BytesIn, o.BytesOut = s.Open.Load(), s.Total.Load(), s.Failed.Load(), s.In.Load(), s.Out.Load()
		o.Dropped = s.Dropped.Load()
		if last := f.worker.LastError(); last != nil {
			err = last
		}
	}
	if err != nil {
		o.Error = explainCut(err, o.Peer.Name)
	}
	return o
}

// RemoveForward ends a forward and its connections.
func (d *Daemon) RemoveForward(id string) (ForwardObject, error) {
	f := d.forwards.find(id)
	if f == nil {
		return ForwardObject{}, cli.Errorf("E_USAGE", "there is no forward %q", id).Hint("see `node forward ls`")
	}
	o := d.forwardObject(f)
	f.cancel(errForwardGone)
	<-f.ended
	d.forwards.remove(f)
	d.events.publish(Event{Type: EventService, What: "forward " + id + " ended", Peer: &o.Peer})
	return o, d.saved.keepForward(id, false, ForwardRequest{})
}

var errForwardGone = errors.New("the forward was taken away")

// startSaved begins what was saved, as far as it can: a port that is taken keeps nothing else from starting.
func (d *Daemon) startSaved() {
	exposed, list := d.saved.list()
	for _, e := range exposed {
		if _, err := d.Expose(e); err != nil {
			d.log.Warn("a saved service is not exposed", "name", e.Name, "error", err)
		}
	}
	for _, req := range list {
		to, err := d.contacts.Resolve(req.Peer)
		if err == nil {
			_, err = d.startForward(req, to, true)
		}
		if err != nil {
			d.log.Warn("a saved forward is not there", "id", req.ID, "error", err)
		}
	}
}

// backTask takes a connection to what a peer was asked to listen on.
func (d *Daemon) backTask(in *connmgr.Incoming, r service.Request) {
	f := d.forwards.find(r.Name)
	if f == nil || f.req.Kind != ForwardRemote || f.peer.Device != in.Peer {
		_ = in.Decline(service.ReasonUnknown)
		return
	}
	f.open.Add(1)
	f.total.Add(1)
	defer f.open.Add(-1)
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	d.tasks.Go(func() { endWith(f.ended, done, cancel) })
	d.joinTo(ctx, in, f.target.Network, f.target.Address, f.req.Idle, mux.Normal)
}
