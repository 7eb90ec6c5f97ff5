package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"traverse.internal/internal/cli"
)

// maxReply bounds what a command reads from the daemon: the table's 512 transfers and 1,000 contacts are below 2 MiB.
const maxReply = 8 << 20

// Client talks to the daemon of a home. It has nothing to close.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client for the socket; nothing is dialled yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}
	return c
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.socket)
}

// Trace logs each request and how it was answered, where the logger takes lines of level info. Before the first request.
func (c *Client) Trace(log *slog.Logger) { c.http.Transport = traced{c.http.Transport, c.socket, log} }

type traced struct {
	http.RoundTripper
	socket string
	log    *slog.Logger
}

func (t traced) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	t.log.Debug("asking the node", "socket", t.socket, "method", req.Method, "path", req.URL.RequestURI(), "body", req.ContentLength)
	res, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		t.log.Info("the node was asked", "method", req.Method, "path", req.URL.RequestURI(), "error", err)
		return res, err
	}
	t.log.Info("the node was asked", "method", req.Method, "path", req.URL.RequestURI(), "status", res.StatusCode, "took", time.Since(began))
	return res, nil
}

// do sends a request and reads the answer into out. The daemon's errors come back as *cli.Error.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.failed(ctx, err)
	}
	return readAnswer(res, out)
}

// failed says why a request got no answer.
func (c *Client) failed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cli.Errorf("E_TIMEOUT", "the daemon did not answer in time").Because(fmt.Errorf("%s: %w", c.socket, ctx.Err())).
			Hint("give it longer: --timeout 1m")
	}
	if ctx.Err() != nil {
		return cli.Errorf("E_INTERRUPTED", "interrupted").Because(context.Cause(ctx))
	}
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		return brokeOff(err)
	}
	err = dial.Err
	return cli.Errorf("E_NO_DAEMON", "the node is not running").
		Because(fmt.Errorf("%s: %w", c.socket, err)).Hint("start it: node up")
}

// readAnswer reads the daemon's answer into out; nil where only an error is expected.
func readAnswer(res *http.Response, out any) error {
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return brokeOff(err)
	}
	if res.StatusCode != http.StatusOK {
		var failed struct {
			Error *cli.Error `json:"error"`
		}
		if json.Unmarshal(raw, &failed) == nil && failed.Error != nil {
			return failed.Error
		}
		return cli.Errorf("E_UNEXPECTED", "the daemon answered %s", res.Status).Because(errors.New(string(raw[:min(len(raw), 200)])))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return cli.Errorf("E_UNEXPECTED", "the daemon's answer cannot be read").Because(err)
	}
	return nil
}

// brokeOff is for a daemon that ended while it was asked.
func brokeOff(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the address, which is no address
	}
	return cli.Errorf("E_NO_DAEMON", "the node ended before it answered").Because(err).
		Hint("its log says why; start it again: node up")
}

// Status looks at the whole node.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Reload has the node apply its configuration as it is now.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	return r, c.do(ctx, http.MethodPost, "/v1/reload", nil, &r)
}

// Log reads the last lines that the node has logged.
func (c *Client) Log(ctx context.Context) (l LogLines, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/log", nil, &l)
}

// Stop ends the node, which is still going down then.
func (c *Client) Stop(ctx context.Context) (s Stopped, err error) {
	return s, c.do(ctx, http.MethodPost, "/v1/stop", nil, &s)
}

// Drain has the node end when what moves has ended, or after the grace.
func (c *Client) Drain(ctx context.Context, grace time.Duration) (out Drained, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/drain", DrainRequest{&grace}, &out)
}

// Bench measures the way to a contact.
func (c *Client) Bench(ctx context.Context, req BenchRequest) (out BenchObject, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/bench", req, &out)
}

// Contacts lists the contacts.
func (c *Client) Contacts(ctx context.Context) (l ContactList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/contacts", nil, &l)
}

// AddContact notes a device under a name.
func (c *Client) AddContact(ctx context.Context, name, device string) (o ContactObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/contacts", contactRequest{name, device}, &o)
}

// Send begins to send files and folders as one transfer; the paths are absolute.
func (c *Client) Send(ctx context.Context, peer string, paths ...string) (t Transfer, err error) {
	return c.SendWith(ctx, SendOptions{}, peer, paths...)
}

// SendWith is Send with options.
func (c *Client) SendWith(ctx context.Context, opt SendOptions, peer string, paths ...string) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/transfers", newSendRequest(opt, peer, paths), &t)
}

// Transfer looks at a transfer; with a positive wait it answers when the state is no longer after, or when the time is over.
func (c *Client) Transfer(ctx context.Context, id string, after State, wait time.Duration) (t Transfer, err error) {
	q := url.Values{}
	if wait > 0 {
		q.Set("after", string(after))
		q.Set("wait", wait.String())
	}
	return t, c.do(ctx, http.MethodGet, "/v1/transfers/"+url.PathEscape(id)+"?"+q.Encode(), nil, &t)
}

// Cancel ends a transfer on both sides.
func (c *Client) Cancel(ctx context.Context, id string) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/transfers/"+url.PathEscape(id)+"/cancel", nil, &t)
}

// Transfers lists the transfers in both directions.
func (c *Client) Transfers(ctx context.Context) (l TransferList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/transfers", nil, &l)
}

// Inbox lists the offers that wait for an answer.
func (c *Client) Inbox(ctx context.Context) (l TransferList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/inbox", nil, &l)
}

// Accept takes an offer.
func (c *Client) Accept(ctx context.Context, id string) (t Transfer, err error) {
	return c.AcceptWith(ctx, id, AcceptRequest{})
}

// AcceptWith is Accept with options.
func (c *Client) AcceptWith(ctx context.Context, id string, req AcceptRequest) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/inbox/"+url.PathEscape(id)+"/accept", req, &t)
}

// Decline refuses an offer.
func (c *Client) Decline(ctx context.Context, id, reason string) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/inbox/"+url.PathEscape(id)+"/decline", declineRequest{reason}, &t)
}

// Contact looks at one contact.
func (c *Client) Contact(ctx context.Context, who string) (o ContactDetail, err error) {
	return o, c.do(ctx, http.MethodGet, "/v1/contacts/"+url.PathEscape(who), nil, &o)
}

// SetContact changes a contact's policy.
func (c *Client) SetContact(ctx context.Context, who string, values map[string]string) (o ContactObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/contacts/"+url.PathEscape(who), policyRequest{Set: values}, &o)
}

// TrustContact says that the devices of a contact were looked at: those with the ids, or all.
func (c *Client) TrustContact(ctx context.Context, who string, ids []string) (o ContactDetail, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/contacts/"+url.PathEscape(who)+"/trust", trustRequest{ids}, &o)
}

// Devices lists the devices of the account.
func (c *Client) Devices(ctx context.Context) (l DeviceList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/devices", nil, &l)
}

// RenameContact calls a contact something else.
func (c *Client) RenameContact(ctx context.Context, who, name string) (o ContactObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/contacts/"+url.PathEscape(who), policyRequest{Name: name}, &o)
}

// RemoveContact forgets a contact.
func (c *Client) RemoveContact(ctx context.Context, who string) (o ContactObject, err error) {
	return o, c.do(ctx, http.MethodDelete, "/v1/contacts/"+url.PathEscape(who), nil, &o)
}

// Sessions lists the sessions.
func (c *Client) Sessions(ctx context.Context) (l SessionList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/sessions", nil, &l)
}

// Channels lists the open channels, of one contact or of all.
func (c *Client) Channels(ctx context.Context, who string) (l ChannelList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/channels?"+url.Values{"peer": {who}}.Encode(), nil, &l)
}

// Kick ends the sessions with a contact.
func (c *Client) Kick(ctx context.Context, who string) (k Kicked, err error) {
	return k, c.do(ctx, http.MethodDelete, "/v1/sessions/"+url.PathEscape(who), nil, &k)
}

// Netcheck asks the relays what this network does.
func (c *Client) Netcheck(ctx context.Context) (n Netcheck, err error) {
	return n, c.do(ctx, http.MethodGet, "/v1/netcheck", nil, &n)
}

// Ping sends bytes to a contact and waits for them.
func (c *Client) Ping(ctx context.Context, req PingRequest) (p Pong, err error) {
	return p, c.do(ctx, http.MethodPost, "/v1/pings", req, &p)
}

// Why tells how the last attempts to reach a contact went; last is how many, 0 all that are kept.
func (c *Client) Why(ctx context.Context, who string, last int) (w Why, err error) {
	return w, c.do(ctx, http.MethodGet, "/v1/why/"+url.PathEscape(who)+"?last="+strconv.Itoa(last), nil, &w)
}

// Services lists what is exposed.
func (c *Client) Services(ctx context.Context) (l ServiceList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/services", nil, &l)
}

// Expose lets contacts reach a service.
func (c *Client) Expose(ctx context.Context, req ExposeRequest) (s Service, err error) {
	return s, c.do(ctx, http.MethodPost, "/v1/services", req, &s)
}

// Unexpose takes a service away.
func (c *Client) Unexpose(ctx context.Context, name string) (s Service, err error) {
	return s, c.do(ctx, http.MethodDelete, "/v1/services/"+url.PathEscape(name), nil, &s)
}

// Forwards lists the forwards.
func (c *Client) Forwards(ctx context.Context) (l ForwardList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/forwards", nil, &l)
}

// Forward begins a forward.
func (c *Client) Forward(ctx context.Context, req ForwardRequest) (f ForwardObject, err error) {
	return f, c.do(ctx, http.MethodPost, "/v1/forwards", req, &f)
}

// RemoveForward ends one.
func (c *Client) RemoveForward(ctx context.Context, id string) (f ForwardObject, err error) {
	return f, c.do(ctx, http.MethodDelete, "/v1/forwards/"+url.PathEscape(id), nil, &f)
}

// Invite makes a ticket.
func (c *Client) Invite(ctx context.Context, req InviteRequest) (t TicketObject, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/invitations", req, &t)
}

// Join answers an invitation.
func (c *Client) Join(ctx context.Context, req JoinRequest) (o JoinedObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/join", req, &o)
}

// Get asks for something again.
func (c *Client) Get(ctx context.Context, req GetRequest) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/gets", req, &t)
}

// RenameDevice calls a device of the account something else.
func (c *Client) RenameDevice(ctx context.Context, who, name string) (o DeviceObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/devices/"+url.PathEscape(who), deviceRequest{name}, &o)
}

// Rotate gives the device a new key.
func (c *Client) Rotate(ctx context.Context, req RotateRequest) (o RotationObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/identity/rotate", req, &o)
}

// Leave takes this device off its account.
func (c *Client) Leave(ctx context.Context, req LeaveRequest) (o LeaveObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/identity/revoke", req, &o)
}

// RevokeDevice takes a device off the account's list.
func (c *Client) RevokeDevice(ctx context.Context, who string) (o DeviceObject, err error) {
	return o, c.do(ctx, http.MethodDelete, "/v1/devices/"+url.PathEscape(who), nil, &o)
}

// Raw sends any request and copies the answer to w, as it comes. in is nil where there is no body.
func (c *Client) Raw(ctx context.Context, method, path string, in io.Reader, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, in)
	if err != nil {
		return cli.Errorf("E_USAGE", "%q is not a path of the API", path).Because(err).Hint("node api spec")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.failed(ctx, err)
	}
	if res.StatusCode != http.StatusOK {
		return readAnswer(res, nil)
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return c.failed(ctx, err)
	}
	return nil
}
