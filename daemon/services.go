package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/service"
)

// Limits of what contacts reach here.
const (
	// maxServices is how many channels of services and pipes one contact may have at once, whatever for: 512 sockets, as many goroutines twice,
	// 64 MiB of buffers when all of them move. A service has limits of its own below.
	maxServices = 512
	dialTime    = 10 * time.Second // to a service on this side
	resolveTime = 5 * time.Second
)

// perPeer counts what each device has, up to a limit. Safe for concurrent use.
type perPeer struct {
	limit int

	mu sync.Mutex // guards n
	n  map[identity.DeviceID]int
}

// enter counts one more, unless the device has as many as it may; leave counts it out.
func (p *perPeer) enter(id identity.DeviceID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n[id] >= p.limit {
		return false
	}
	if p.n == nil {
		p.n = map[identity.DeviceID]int{}
	}
	p.n[id]++
	return true
}

func (p *perPeer) leave(id identity.DeviceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n[id]--; p.n[id] == 0 {
		delete(p.n, id)
	}
}

// takeService takes a channel that asks for a service, a pipe, or a forward. Everything a device may have here was allowed by name.
func (d *Daemon) takeService(in *connmgr.Incoming, r service.Request) {
	var task func(*connmgr.Incoming, service.Request)
	switch r.Kind {
	case service.KindService, service.KindTCP, service.KindDatagrams, service.KindUDP:
		task = d.serviceTask
	case service.KindPipe:
		task = d.pipeTask
	case service.KindListen:
		task = d.listenTask
	case service.KindBack:
		task = d.backTask
	}
	if !d.served.enter(in.Peer) {
		_ = in.Decline(service.ReasonBusy)
		return
	}
	d.tasks.Go(func() {
		defer d.served.leave(in.Peer)
		task(in, r)
	})
}

// serviceTask connects a channel with what is exposed under its name.
func (d *Daemon) serviceTask(in *connmgr.Incoming, r service.Request) {
	lease, gone, verdict := d.permitService(d.contacts.partyOf(in.Peer), r)
	if verdict == service.Denied {
		lease, gone, verdict = d.permitService(in.Peer, r) // exposed to the one device
	}
	switch verdict {
	case service.Granted:
	case service.Busy:
		_ = in.Decline(service.ReasonBusy)
		return
	default:
		_ = in.Decline(service.ReasonUnknown)
		return
	}
	defer lease.Release()
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	d.tasks.Go(func() { endWith(gone, done, cancel) })
	prio := mux.Normal
	if lease.Exposed.Name == "ssh" {
		prio = mux.Interactive
	}
	if lease.Network == "udp" {
		d.joinDatagrams(ctx, in, lease.Address, lease.Exposed.Idle)
		return
	}
	d.joinTo(ctx, in, lease.Network, lease.Address, lease.Exposed.Idle, prio)
}

func (d *Daemon) permitService(who identity.DeviceID, r service.Request) (*service.Lease, <-chan struct{}, service.Verdict) {
	lease, gone, verdict := d.services.Permit(who, r, nil)
	if verdict == service.Resolve {
		lease, gone, verdict = d.services.Permit(who, r, d.resolve(r.Host))
	}
	return lease, gone, verdict
}

// errUnexposed ends the connections of a service that is taken away.
var errUnexposed = errors.New("the service is no longer exposed")

// endWith cancels when gone is closed, and ends then or with done.
func endWith(gone, done <-chan struct{}, cancel context.CancelCauseFunc) {
	select {
	case <-gone:
		cancel(errUnexposed)
	case <-done:
	}
}

// resolve gives a host's addresses, none where it has none: an empty list, not nil, which would mean that nobody has looked.
func (d *Daemon) resolve(host string) []netip.Addr {
	ctx, cancel := context.WithTimeout(d.ctx, resolveTime)
	defer cancel()
	addrs, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return append([]netip.Addr{}, addrs...)
}

// joinTo dials on this side, and accepts the channel only then: whoever asked is told why it did not work.
func (d *Daemon) joinTo(ctx context.Context, in *connmgr.Incoming, network, address string, idle time.Duration, prio mux.Priority) {
	dialer := net.Dialer{Timeout: dialTime}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		_ = in.Decline("the service does not answer: " + plainDial(err))
		return
	}
	ch, err := in.Accept()
	if err != nil {
		c.Close()
		return // the channel was gone before it was accepted
	}
	ch.SetPriority(prio)
	if err := service.Join(ctx, ch, service.Conn(c), service.Options{Idle: idle}); err != nil {
		d.log.Debug("a service's connection was cut", "peer", in.Peer.Short(), "channel", in.Name, "error", err)
	}
}

// joinDatagrams is joinTo for datagrams: a socket of its own for each channel, so that answers find their way back.
func (d *Daemon) joinDatagrams(ctx context.Context, in *connmgr.Incoming, address string, idle time.Duration) {
	c, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "udp", address)
	if err != nil {
		_ = in.Decline("the service does not answer: " + plainDial(err))
		return
	}
	ch, err := in.Accept()
	if err != nil {
		c.Close()
		return // the channel was gone before it was accepted
	}
	if err := service.JoinDatagrams(ctx, ch, c, service.Options{Idle: idle}); err != nil {
		d.log.Debug("a flow of datagrams was cut", "peer", in.Peer.Short(), "channel", in.Name, "error", err)
	}
}

// plainDial is why a dial failed, without the address: that is this side's business.
func plainDial(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "its host is not known"
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err.Error()
}

// ExposeRequest asks for a service to be exposed.
type ExposeRequest struct {
	Name       string        `json:"name"`
	Addr       string        `json:"addr"`                  // PORT, HOST:PORT, unix:PATH, or NETWORK/BITS:PORT; udp: in front of it for datagrams
	To         []string      `json:"to,omitempty"`          // contacts [every contact]
	PerContact int           `json:"per_contact,omitempty"` // connections of one contact [32]
	Conns      int           `json:"conns,omitempty"`       // of all [256]
	Idle       time.Duration `json:"idle_ns,omitempty"`     // a connection where nothing moves ends after it, or after up to twice that [24h]
	Save       bool          `json:"save,omitempty"`        // exposed again when the node is up again
}

// Service is an exposed service: what expose commands print.
type Service struct {
	cli.Envelope
	Name       string        `json:"name"`
	Addr       string        `json:"addr"`
	To         []PeerRef     `json:"to"` // empty: every contact
	PerContact int           `json:"per_contact"`
	Conns      int           `json:"conns"`
	Idle       time.Duration `json:"idle_ns"`
	Saved      bool          `json:"saved"`
	Open       int           `json:"open"`
	Total      uint64        `json:"total"`
}

// ServiceList is what `expose ls` prints.
type ServiceList struct {
	cli.Envelope
	Services []Service `json:"services"`
}

// Expose lets contacts reach a service, in the place of one of that name.
func (d *Daemon) Expose(req ExposeRequest) (Service, error) {
	fail := func(err error) (Service, error) {
		return Service{}, cli.Errorf("E_USAGE", "%s cannot be exposed as %q", req.Addr, req.Name).Because(err).Hint("node expose -h")
	}
	target, err := service.ParseTarget(req.Addr)
	if err != nil {
		return fail(err)
	}
	e := service.Exposed{Name: req.Name, Target: target, PerContact: req.PerContact, Conns: req.Conns, Idle: req.Idle}
	for _, who := range req.To {
		c, err := d.contacts.Find(who)
		if err != nil {
			return Service{}, err
		}
		e.To = append(e.To, c.named())
	}
	if err := d.services.Add(e); err != nil {
		return fail(err)
	}
	if err := d.saved.keepService(req.Name, req.Save, d.idsOf(req)); err != nil {
		return Service{}, err
	}
	d.events.publish(Event{Type: EventService, What: "exposed " + req.Name})
	return d.serviceNamed(req.Name)
}

// idsOf is the request with device ids for names: a name may be another's later.
func (d *Daemon) idsOf(req ExposeRequest) ExposeRequest {
	req.To = append([]string(nil), req.To...)
	for i, who := range req.To {
		if c, err := d.contacts.Find(who); err == nil {
			req.To[i] = c.named().String()
		}
	}
	return req
}

func (d *Daemon) serviceNamed(name string) (Service, error) {
	for _, s := range d.Services().Services {
		if s.Name == name {
			s.Envelope = envelope("service")
			return s, nil
		}
	}
	return Service{}, cli.Errorf("E_USAGE", "no service %q is exposed", name).Hint("see `node expose ls`")
}

// Unexpose takes a service away; its connections end.
func (d *Daemon) Unexpose(name string) (Service, error) {
	s, err := d.serviceNamed(name)
	if err != nil {
		return s, err
	}
	d.services.Remove(name)
	d.events.publish(Event{Type: EventService, What: "unexposed " + name})
	return s, d.saved.keepService(name, false, ExposeRequest{})
}

// Services lists what is exposed.
func (d *Daemon) Services() ServiceList {
	list := ServiceList{envelope("services"), []Service{}}
	for _, e := range d.services.List() {
		s := Service{
			Envelope: envelope("service"), Name: e.Name, Addr: e.Target.String(), To: []PeerRef{}, PerContact: e.PerContact, Conns: e.Conns,
			Idle: e.Idle, Saved: d.saved.hasService(e.Name), Open: e.Open, Total: e.Total,
		}
		for _, id := range e.To {
			s.To = append(s.To, d.refOf(id))
		}
		list.Services = append(list.Services, s)
	}
	return list
}

// openService opens a channel to what a contact exposes. Its errors are *cli.Error.
func (d *Daemon) openService(ctx context.Context, to Contact, r service.Request, prio mux.Priority) (*mux.Channel, connmgr.Info, error) {
	ch, info, err := d.manager.Connect(ctx, to.Device, r.String())
	if err != nil {
		return nil, info, explainService(err, to.Name, r)
	}
	ch.SetPriority(prio)
	return ch, info, nil
}

// explainService is explain for a channel that asked for a service.
func explainService(err error, peer string, r service.Request) *cli.Error {
	var declined *mux.DeclinedError
	if !errors.As(err, &declined) || declined.Reason != service.ReasonUnknown {
		return explain(err, peer)
	}
	switch r.Kind {
	case service.KindPipe:
		return cli.Errorf("E_DENIED", "nobody on %s listens for %q", peer, r.Name).Because(errors.New(declined.Reason)).
			Hint("run there: node listen %s", r.Name)
	case service.KindDatagrams:
		return cli.Errorf("E_DENIED", "%s exposes no datagrams as %q to this device", peer, r.Name).Because(errors.New(declined.Reason)).
			Hint("run there: node expose %s HOST:PORT --udp", r.Name)
	case service.KindUDP:
		return cli.Errorf("E_DENIED", "%s exposes no datagrams of %s:%d to this device", peer, r.Host, r.Port).Because(errors.New(declined.Reason)).
			Hint("run there: node expose NAME %s:%d --udp", r.Host, r.Port)
	case service.KindService:
		return cli.Errorf("E_DENIED", "%s exposes no service %q to this device", peer, r.Name).Because(errors.New(declined.Reason)).
			Hint("run there: node expose %s HOST:PORT", r.Name)
	case service.KindListen:
		return cli.Errorf("E_DENIED", "%s does not listen for this device", peer).Because(errors.New(declined.Reason)).
			Hint("run there: node contact set NAME listen=on")
	}
	return cli.Errorf("E_DENIED", "%s exposes no %s:%d to this device", peer, r.Host, r.Port).Because(errors.New(declined.Reason)).
		Hint("run there: node expose NAME %s", fmt.Sprintf("%s:%d", r.Host, r.Port))
}
