package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/service"
)

// Limits of pipes.
const (
	maxListeners = 256         // programs that wait for a channel
	listenGrace  = time.Second // a channel waits so long for a program: one that serves one after the other has a moment between them
)

// StreamProtocol is what a connection to the local API is upgraded to when it carries a channel.
const StreamProtocol = "traverse-stream"

// PipeRequest asks for a channel to a program that listens at a contact, or to a service there.
type PipeRequest struct {
	Peer    string `json:"peer"`
	Name    string `json:"name,omitempty"`    // of the program's listen
	Service string `json:"service,omitempty"` // instead: a service's name, or HOST:PORT
}

// ListenRequest waits for one channel.
type ListenRequest struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // contact [any]

	Listening func() `json:"-"` // called when pipes find the listener from now on; may be nil
}

// postPipe opens a channel and carries it on the connection.
func (d *Daemon) postPipe(w http.ResponseWriter, r *http.Request) {
	var req PipeRequest
	if err := read(r, &req); err != nil {
		reply(w, nil, err)
		return
	}
	to, err := d.contacts.Resolve(req.Peer)
	if err != nil {
		reply(w, nil, err)
		return
	}
	ask, err := req.request()
	if err != nil {
		reply(w, nil, cli.Errorf("E_USAGE", "this cannot be asked for").Because(err))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	ch, _, err := d.openService(ctx, to, ask, mux.Interactive)
	if err != nil {
		reply(w, nil, err)
		return
	}
	d.carry(w, ch, PeerRef{to.Name, to.Device.String()})
}

func (q PipeRequest) request() (service.Request, error) {
	if q.Service != "" {
		return service.ParseDestination(q.Service)
	}
	return service.ParseRequest(string(service.KindPipe) + "/" + q.Name)
}

// carry hands a channel to the program at the other end of the request's connection, until both directions have ended.
func (d *Daemon) carry(w http.ResponseWriter, ch *mux.Channel, peer PeerRef) {
	done := make(chan struct{})
	if !d.spawn(func() {
		defer close(done)
		c, err := upgrade(w, peer)
		if err != nil {
			_ = ch.Reset(service.CodeLocal, "the program ended")
			return
		}
		local := service.NewFramed(c, func(err error) string {
			raw, _ := json.Marshal(explainCut(err, peer.Name))
			return string(raw)
		})
		_ = service.Join(d.ctx, ch, local, service.Options{})
	}) {
		_ = ch.Reset(service.CodeEnded, "the node is going down")
		reply(w, nil, cli.Errorf("E_CANCELLED", "the node is going down"))
		return
	}
	<-done
}

// upgrade takes the connection from the HTTP server. The client says nothing before it has read the answer.
func upgrade(w http.ResponseWriter, peer PeerRef) (net.Conn, error) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	who, _ := json.Marshal(peer)
	_, err = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nTraverse-Peer: %s\r\n\r\n", StreamProtocol, who)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// listener is a program that waits for a channel.
type listener struct {
	name string
	from []identity.DeviceID // nil: any contact
	got  chan *connmgr.Incoming
	done chan struct{} // closed when the program has done with what it got
}

// listeners are the programs that wait. Safe for concurrent use.
type listeners struct {
	mu      sync.Mutex // guards the fields below
	list    []*listener
	changed chan struct{} // closed when there is another; nil while nobody waits
}

func (l *listeners) add(n *listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) >= maxListeners {
		return false
	}
	l.list = append(l.list, n)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return true
}

// leave takes a listener away, unless a channel has taken it.
func (l *listeners) leave(n *listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.list, n)
	if i < 0 {
		return false
	}
	l.list = slices.Delete(l.list, i, i+1)
	return true
}

// take gives the channel to the listener that waits longest, and waits for one itself until ctx ends.
func (l *listeners) take(ctx context.Context, name string, peer identity.DeviceID) *listener {
	for {
		l.mu.Lock()
		i := slices.IndexFunc(l.list, func(n *listener) bool { return n.name == name && (n.from == nil || slices.Contains(n.from, peer)) })
		if i >= 0 {
			n := l.list[i]
			l.list = slices.Delete(l.list, i, i+1)
			l.mu.Unlock()
			return n
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// pipeTask gives a channel to the program that listens for it.
func (d *Daemon) pipeTask(in *connmgr.Incoming, r service.Request) {
	ctx, cancel := context.WithTimeout(d.ctx, listenGrace)
	defer cancel()
	l := d.listeners.take(ctx, r.Name, in.Peer)
	if l == nil {
		_ = in.Decline(service.ReasonUnknown)
		return
	}
	l.got <- in
	<-l.done
}

// postListener waits for a channel and carries it on the connection.
func (d *Daemon) postListener(w http.ResponseWriter, r *http.Request) {
	var req ListenRequest
	if err := read(r, &req); err != nil {
		reply(w, nil, err)
		return
	}
	l := &listener{name: req.Name, got: make(chan *connmgr.Incoming, 1), done: make(chan struct{})}
	if err := service.CheckName(req.Name); err != nil {
		reply(w, nil, cli.Errorf("E_USAGE", "%q cannot be listened for", req.Name).Because(err))
		return
	}
	if req.From != "" {
		c, err := d.contacts.Resolve(req.From)
		if err != nil {
			reply(w, nil, err)
			return
		}
		for _, p := range c.meant(d.self) {
			l.from = append(l.from, p.Device)
		}
	}
	if !d.listeners.add(l) {
		reply(w, nil, cli.Errorf("E_DENIED", "%d programs listen already", maxListeners))
		return
	}
	defer close(l.done)
	w.WriteHeader(http.StatusProcessing) // from now on pipes find it
	var in *connmgr.Incoming
	select {
	case in = <-l.got:
	case <-r.Context().Done():
	case <-d.ctx.Done():
	}
	if in == nil {
		if !d.listeners.leave(l) {
			_ = (<-l.got).Decline(service.ReasonUnknown)
		}
		reply(w, nil, cli.Errorf("E_CANCELLED", "the node is going down"))
		return
	}
	ch, err := in.Accept()
	if err != nil {
		reply(w, nil, cli.Errorf("E_CANCELLED", "%s went away", d.contacts.NameOf(in.Peer)).Because(err))
		return
	}
	ch.SetPriority(mux.Interactive)
	d.carry(w, ch, d.refOf(in.Peer))
}

// explainCut says why a channel that was open ended before its end.
func explainCut(err error, peer string) *cli.Error {
	var reset *mux.ResetError
	var link *mux.LinkError
	switch {
	case errors.As(err, &reset) && reset.Remote:
		return cli.Errorf("E_CANCELLED", "%s ended the connection", peer).Because(errors.New(reset.Reason))
	case errors.As(err, &link):
		return cli.Errorf("E_NO_PATH", "the connection to %s broke and did not come back", peer).Because(err).Hint("try again")
	case errors.Is(err, service.ErrCut):
		return cli.Errorf("E_CANCELLED", "the program on this side ended").Because(err)
	case errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return cli.Errorf("E_CANCELLED", "the session with %s ended", peer).Because(err)
	}
	return explain(err, peer)
}

// Stream is a channel as a command has it: what the other side writes is read, and the reverse.
type Stream struct {
	*service.Framed
	Peer PeerRef

	c net.Conn
}

// Close ends it.
func (s *Stream) Close() error { return s.c.Close() }

// Pipe opens a channel to a program or a service at a contact.
func (c *Client) Pipe(ctx context.Context, req PipeRequest) (*Stream, error) {
	return c.stream(ctx, "/v1/pipes", req, nil)
}

// Listen waits for a channel that a contact opens.
func (c *Client) Listen(ctx context.Context, req ListenRequest) (*Stream, error) {
	return c.stream(ctx, "/v1/listeners", req, req.Listening)
}

// stream posts a request whose answer is a connection. ctx bounds the opening alone; waiting, which may be nil, is called when it is waited for.
func (c *Client) stream(ctx context.Context, path string, in any, waiting func()) (*Stream, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	req, err := http.NewRequest(http.MethodPost, "http://node"+path, strings.NewReader(string(raw)))
	if err != nil {
		conn.Close()
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", StreamProtocol)
	from := bufio.NewReader(conn)
	var res *http.Response
	if err = req.Write(conn); err == nil {
		res, err = http.ReadResponse(from, req)
	}
	if err == nil && res.StatusCode == http.StatusProcessing {
		if waiting != nil {
			waiting()
		}
		res, err = http.ReadResponse(from, req)
	}
	if err != nil {
		stop()
		conn.Close()
		return nil, c.failed(ctx, err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		return nil, readAnswer(res, nil)
	}
	if !stop() {
		conn.Close()
		return nil, c.failed(ctx, ctx.Err())
	}
	s := &Stream{Framed: service.NewFramed(buffered{conn, from}, func(err error) string { return err.Error() }), c: conn}
	_ = json.Unmarshal([]byte(res.Header.Get("Traverse-Peer")), &s.Peer)
	return s, nil
}

// buffered is a connection of which some was read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// StreamError is a stream's failure as the daemon explained it.
func StreamError(err error) error {
	var abort *service.AbortError
	if !errors.As(err, &abort) {
		return err
	}
	var e cli.Error
	if json.Unmarshal([]byte(abort.Text), &e) == nil && e.Message != "" {
		return &e
	}
	return cli.Errorf("E_UNEXPECTED", "%s", abort.Text)
}
