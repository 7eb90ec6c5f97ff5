package daemon

import (
	"encoding/json"
	"errors"
	"net/http"

	"traverse.internal/internal/cli"
)

// route is one resource of the local API. The OpenAPI document is made of the same table that the handlers are, so that neither can have
// what the other has not.
type route struct {
	method, path string
	summary      string
	query        []param
	in           any // of the request's body; nil: it has none
	out          any // of the answer
	stream       string
	answer       func(*http.Request) (any, error)
	handle       http.HandlerFunc // instead of answer, for streams
	begins       bool             // what a node that is drained does not begin any more
}

type param struct{ name, help string }

// What a stream's answer is.
const (
	streamSSE     = "text/event-stream"
	streamUpgrade = "upgrade"
)

func (d *Daemon) postInvitation(r *http.Request) (any, error) {
	var req InviteRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.Invite(req)
}

func (d *Daemon) postJoin(r *http.Request) (any, error) {
	var req JoinRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.Join(r.Context(), req)
}

func (d *Daemon) postGet(r *http.Request) (any, error) {
	var req GetRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.Get(req)
}

// routes are the whole API. It may be called on a nil Daemon for all but the answers.
func (d *Daemon) routes() []route {
	return append([]route{
		{method: "GET", path: "/v1/status", summary: "one look at the whole node", out: Status{}, answer: func(*http.Request) (any, error) { return d.Status(), nil }},
		{method: "POST", path: "/v1/reload", summary: "apply the configuration and the secrets as they are now", out: Reloaded{}, answer: func(*http.Request) (any, error) { return d.Reload() }},
		{method: "POST", path: "/v1/stop", summary: "end the node; the socket goes last", out: Stopped{}, answer: func(*http.Request) (any, error) { return d.Stop(), nil }},
		{
			method: "POST", path: "/v1/drain", summary: "end the node when the transfers that move have ended, or after a grace; meanwhile nothing begins", in: DrainRequest{}, out: Drained{},
			answer: d.postDrain,
		},
		{method: "GET", path: "/v1/openapi.json", summary: "this document", out: json.RawMessage{}, answer: func(*http.Request) (any, error) { return Spec(), nil }},
		{
			method: "GET", path: "/v1/events", summary: "what happens, from now on, as server-sent events; the id is the event's seq", out: Event{}, stream: streamSSE,
			query: []param{
				{"since", "begin after the event of this seq; 0 is all that are kept"},
				{"type", "only these types, with commas between"},
				{"peer", "only of this contact"},
				{"follow", "no: end with the newest that there is now"},
			},
			handle: d.getEvents,
		},
		{method: "GET", path: "/v1/config", summary: "the configuration in force, with where each value comes from; secrets are hidden", out: ConfigInForce{}, answer: func(*http.Request) (any, error) { return d.ConfigInForce(), nil }},
		{method: "GET", path: "/v1/log", summary: "the last lines that the node has logged, from level info on", out: LogLines{}, answer: func(*http.Request) (any, error) { return d.lastLines.list(), nil }},
		{method: "GET", path: "/v1/contacts", summary: "list the contacts", out: ContactList{}, answer: func(*http.Request) (any, error) { return d.contacts.object(), nil }},
		{method: "POST", path: "/v1/contacts", summary: "know a device under a name", in: contactRequest{}, out: ContactObject{}, answer: d.postContact},
		{method: "GET", path: "/v1/contacts/{contact}", summary: "one contact, by name or device id", out: ContactDetail{}, answer: d.getContact},
		{method: "POST", path: "/v1/contacts/{contact}", summary: "change a contact's policy, or its name", in: policyRequest{}, out: ContactObject{}, answer: d.postPolicy},
		{
			method: "POST", path: "/v1/contacts/{contact}/trust", summary: "say that the devices of a contact were looked at", in: trustRequest{}, out: ContactDetail{},
			answer: func(r *http.Request) (any, error) {
				var req trustRequest
				if err := read(r, &req); err != nil {
					return nil, err
				}
				return d.TrustContact(r.PathValue("contact"), req.Devices)
			},
		},
		{
			method: "DELETE", path: "/v1/contacts/{contact}", summary: "forget a contact", out: ContactObject{},
			answer: func(r *http.Request) (any, error) { return d.RemoveContact(r.PathValue("contact")) },
		},
		{
			method: "GET", path: "/v1/devices", summary: "the devices of this device's account", out: DeviceList{},
			answer: func(*http.Request) (any, error) {
				return d.DeviceList(), nil
			},
		},
		{
			method: "POST", path: "/v1/devices/{device}", summary: "rename a device of the account", in: deviceRequest{}, out: DeviceObject{},
			answer: func(r *http.Request) (any, error) {
				var req deviceRequest
				if err := read(r, &req); err != nil {
					return nil, err
				}
				return d.RenameDevice(r.PathValue("device"), req.Name)
			},
		},
		{
			method: "DELETE", path: "/v1/devices/{device}", summary: "revoke a device of the account, by name or device id", out: DeviceObject{},
			answer: func(r *http.Request) (any, error) { return d.RevokeDevice(r.PathValue("device")) },
		},
		{
			method: "POST", path: "/v1/identity/rotate", summary: "give this device, which signs for its account, a new key; the node begins anew with it", in: RotateRequest{}, out: RotationObject{},
			answer: func(r *http.Request) (any, error) {
				var req RotateRequest
				if err := read(r, &req); err != nil {
					return nil, err
				}
				return d.Rotate(r.Context(), req)
			},
		},
		{
			method: "POST", path: "/v1/identity/revoke", summary: "take this device off its account", in: LeaveRequest{}, out: LeaveObject{},
			answer: func(r *http.Request) (any, error) {
				var req LeaveRequest
				if err := read(r, &req); err != nil {
					return nil, err
				}
				return d.Leave(r.Context(), req)
			},
		},
		{method: "POST", path: "/v1/invitations", summary: "make a ticket for a contact, or for a device of the account", in: InviteRequest{}, out: TicketObject{}, answer: d.postInvitation},
		{method: "POST", path: "/v1/join", summary: "answer an invitation", in: JoinRequest{}, out: JoinedObject{}, answer: d.postJoin, begins: true},
		{method: "POST", path: "/v1/gets", summary: "ask for something again that was announced earlier", in: GetRequest{}, out: Transfer{}, answer: d.postGet, begins: true},
		{method: "GET", path: "/v1/transfers", summary: "list the transfers", out: TransferList{}, answer: func(*http.Request) (any, error) {
			return TransferList{envelope("transfers"), d.listed()}, nil
		}},
		{method: "POST", path: "/v1/transfers", summary: "begin to send files and folders", in: sendRequest{}, out: Transfer{}, answer: d.postTransfer, begins: true},
		{
			method: "GET", path: "/v1/transfers/{id}", summary: "one transfer", out: Transfer{}, answer: d.getTransfer,
			query: []param{{"after", "the state that is known already"}, {"wait", "answer when the state is another, or after this duration, 30s at most"}},
		},
		{
			method: "POST", path: "/v1/transfers/{id}/cancel", summary: "end a transfer on both sides", out: Transfer{},
			answer: func(r *http.Request) (any, error) { return d.Cancel(r.PathValue("id")) },
		},
		{method: "GET", path: "/v1/inbox", summary: "the offers that wait for an answer", out: TransferList{}, answer: func(*http.Request) (any, error) { return d.Inbox(), nil }},
		{
			method: "POST", path: "/v1/inbox/{id}/accept", summary: "take a file", in: AcceptRequest{}, out: Transfer{},
			answer: d.postAccept,
		},
		{method: "POST", path: "/v1/inbox/{id}/decline", summary: "refuse a file", in: declineRequest{}, out: Transfer{}, answer: d.postDecline},
		{method: "GET", path: "/v1/sessions", summary: "the sessions with peers", out: SessionList{}, answer: func(*http.Request) (any, error) { return d.SessionList(), nil }},
		{
			method: "DELETE", path: "/v1/sessions/{contact}", summary: "end the sessions with a contact, and every channel on them", out: Kicked{},
			answer: func(r *http.Request) (any, error) { return d.Kick(r.PathValue("contact")) },
		},
		{
			method: "GET", path: "/v1/channels", summary: "the open channels", out: ChannelList{}, query: []param{{"peer", "only of this contact"}},
			answer: func(r *http.Request) (any, error) { return d.ChannelList(r.URL.Query().Get("peer")) },
		},
		{method: "GET", path: "/v1/netcheck", summary: "ask the relays what this network does; takes some seconds", out: Netcheck{}, answer: func(r *http.Request) (any, error) {
			return d.Netcheck(r.Context()), nil
		}},
		{
			method: "POST", path: "/v1/pings", summary: "send bytes to a contact and wait for them", in: PingRequest{}, out: Pong{},
			answer: func(r *http.Request) (any, error) {
				var req PingRequest
				if err := read(r, &req); err != nil {
					return nil, err
				}
				return d.Probe(r.Context(), req)
			},
		},
		{method: "POST", path: "/v1/bench", summary: "measure the way to a contact that allows it; takes up to three minutes", in: BenchRequest{}, out: BenchObject{}, answer: d.postBench, begins: true},
		{
			method: "GET", path: "/v1/why/{contact}", summary: "how the last attempts to find a path to a contact went, and why", out: Why{},
			query: []param{{"last", "only so many attempts, the newest"}},
			answer: func(r *http.Request) (any, error) {
				last, err := lastOf(r.URL.Query().Get("last"))
				if err != nil {
					return nil, err
				}
				return d.Why(r.PathValue("contact"), last)
			},
		},
		{method: "GET", path: "/v1/services", summary: "what contacts may reach", out: ServiceList{}, answer: func(*http.Request) (any, error) { return d.Services(), nil }},
		{method: "POST", path: "/v1/services", summary: "expose a service", in: ExposeRequest{}, out: Service{}, answer: d.postService},
		{
			method: "DELETE", path: "/v1/services/{name}", summary: "expose a service no longer; its connections end", out: Service{},
			answer: func(r *http.Request) (any, error) { return d.Unexpose(r.PathValue("name")) },
		},
		{method: "GET", path: "/v1/forwards", summary: "the forwards", out: ForwardList{}, answer: func(*http.Request) (any, error) { return d.Forwards(), nil }},
		{method: "POST", path: "/v1/forwards", summary: "forward a port", in: ForwardRequest{}, out: ForwardObject{}, answer: d.postForward, begins: true},
		{
			method: "DELETE", path: "/v1/forwards/{id}", summary: "end a forward; its connections end", out: ForwardObject{},
			answer: func(r *http.Request) (any, error) { return d.RemoveForward(r.PathValue("id")) },
		},
		{method: "POST", path: "/v1/pipes", summary: "open a channel to a contact's program or service and carry it on this connection", in: PipeRequest{}, stream: streamUpgrade, handle: d.postPipe, begins: true},
		{method: "POST", path: "/v1/listeners", summary: "wait for a channel that a contact opens and carry it on this connection", in: ListenRequest{}, stream: streamUpgrade, handle: d.postListener, begins: true},
	}, d.transferRoutes()...)
}

// handler serves the local API: HTTP and JSON.
func (d *Daemon) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range d.routes() {
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) {
			req.Body = http.MaxBytesReader(w, req.Body, maxRequestBody)
			if r.begins && !d.begins(w) {
				return
			}
			if r.handle != nil {
				r.handle(w, req)
				return
			}
			object, err := r.answer(req)
			reply(w, object, err)
		})
	}
	return mux
}

type deviceRequest struct {
	Name string `json:"name"` // what it is to be called
}

type policyRequest struct {
	Set  map[string]string `json:"set,omitempty"`  // as `contact set` takes them
	Name string            `json:"name,omitempty"` // what it is to be called [as it is]
}

func (d *Daemon) getContact(r *http.Request) (any, error) {
	return d.ContactDetail(r.PathValue("contact"))
}

func (d *Daemon) postPolicy(r *http.Request) (any, error) {
	var req policyRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	if req.Name != "" {
		if len(req.Set) > 0 {
			return nil, cli.Errorf("E_USAGE", "a contact is renamed, or its policy changed").Hint("one after the other")
		}
		return d.RenameContact(r.PathValue("contact"), req.Name)
	}
	return d.SetContact(r.PathValue("contact"), req.Set)
}

func (d *Daemon) postDecline(r *http.Request) (any, error) {
	var req declineRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.Decline(r.PathValue("id"), req.Reason)
}

func (d *Daemon) postService(r *http.Request) (any, error) {
	var req ExposeRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.Expose(req)
}

func (d *Daemon) postForward(r *http.Request) (any, error) {
	var req ForwardRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return d.AddForward(req)
}

// asError is any error as the API tells it.
func asError(err error) *cli.Error {
	var e *cli.Error
	if !errors.As(err, &e) {
		e = cli.Errorf("E_UNEXPECTED", "%v", err)
	}
	return e
}
