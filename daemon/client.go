package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}
	return c
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

// Contacts lists the contacts.
func (c *Client) Contacts(ctx context.Context) (l ContactList, err error) {
	return l, c.do(ctx, http.MethodGet, "/v1/contacts", nil, &l)
}

// AddContact notes a device under a name.
func (c *Client) AddContact(ctx context.Context, name, device string) (o ContactObject, err error) {
	return o, c.do(ctx, http.MethodPost, "/v1/contacts", contactRequest{name, device}, &o)
}

// Send begins to send a file; path is absolute.
func (c *Client) Send(ctx context.Context, path, peer string) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/transfers", sendRequest{path, peer}, &t)
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
	return t, c.do(ctx, http.MethodPost, "/v1/inbox/"+url.PathEscape(id)+"/accept", nil, &t)
}

// Decline refuses an offer.
func (c *Client) Decline(ctx context.Context, id, reason string) (t Transfer, err error) {
	return t, c.do(ctx, http.MethodPost, "/v1/inbox/"+url.PathEscape(id)+"/decline", declineRequest{reason}, &t)
}
