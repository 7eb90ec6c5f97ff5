package daemon

import (
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/internal/cli"
)

// Schema names the version of the objects below.
const Schema = "node.v1"

// Envelope begins an object that a command makes of several answers.
func Envelope(kind string) cli.Envelope { return envelope(kind) }

func envelope(kind string) cli.Envelope { return cli.Envelope{Schema: Schema, Kind: kind} }

// Path says which way a session's bytes go, and why that way.
type Path struct {
	Kind   string `json:"kind"` // direct or relayed
	Via    string `json:"via"`
	Reason string `json:"reason"`
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`
	Relay  string `json:"relay,omitempty"`
}

func pathOf(r ice.Route) *Path {
	if r.Kind == "" {
		return nil
	}
	p := &Path{Kind: r.Kind, Via: r.Via, Reason: string(r.Reason)}
	if r.Local.IsValid() {
		p.Local = r.Local.String()
	}
	if r.Remote.IsValid() {
		p.Remote = r.Remote.String()
	}
	if r.Relay.IsValid() {
		p.Relay = r.Relay.String()
	}
	return p
}

// PeerRef names a device: its petname and its id.
type PeerRef struct {
	Name   string `json:"name"`
	Device string `json:"device"`
}

// Transfer is one file on its way, in either direction.
type Transfer struct {
	cli.Envelope
	ID        string     `json:"id"`
	Direction string     `json:"direction"` // send or receive
	State     State      `json:"state"`
	Peer      PeerRef    `json:"peer"`
	File      string     `json:"file"` // name offered; where it was stored, once received
	Bytes     int64      `json:"bytes"`
	Size      int64      `json:"size"`
	RateBPS   int64      `json:"rate_bps"` // bytes per second since the body began
	Path      *Path      `json:"path,omitempty"`
	Created   time.Time  `json:"created"`
	Ended     *time.Time `json:"ended,omitempty"`
	Error     *cli.Error `json:"error,omitempty"`
}

// State is the phase of a transfer.
type State string

// The phases, in order; the last four are ends, but for paused, from which a transfer goes on.
const (
	StateConnecting State = "connecting"
	StateOffered    State = "offered"
	StateSending    State = "sending"
	StateReceiving  State = "receiving"
	StateVerifying  State = "verifying"
	StatePaused     State = "paused" // the link died; the session waits for a new one
	StateDone       State = "done"
	StateDeclined   State = "declined"
	StateCancelled  State = "cancelled"
	StateFailed     State = "failed"
)

// Ended tells whether the state is final.
func (s State) Ended() bool {
	return s == StateDone || s == StateDeclined || s == StateCancelled || s == StateFailed
}

// Status is one look at the whole node.
type Status struct {
	cli.Envelope
	Device    PeerRef      `json:"device"`
	Since     time.Time    `json:"since"`
	Policy    string       `json:"path_policy"`
	DHT       DHTStatus    `json:"dht"`
	Relays    []string     `json:"relays"`
	Turnd     []string     `json:"turnd,omitempty"` // listening addresses of the embedded relay
	Metrics   string       `json:"metrics,omitempty"`
	Peers     []PeerStatus `json:"peers"`
	Transfers []Transfer   `json:"transfers"`
	Warnings  []string     `json:"warnings,omitempty"` // what somebody should look at
}

// DHTStatus says how well the node stands in the DHT.
type DHTStatus struct {
	Mode   string `json:"mode"` // private or mainline
	Listen string `json:"listen"`
	Nodes  int    `json:"nodes"` // known good nodes
}

// PeerStatus is a contact and the session with it, where there is one.
type PeerStatus struct {
	PeerRef
	State    string     `json:"state"` // idle, connecting, connected, lingering, draining
	Path     *Path      `json:"path,omitempty"`
	Channels int        `json:"channels"`
	Since    *time.Time `json:"since,omitempty"`
}

// ContactObject is what contact commands print.
type ContactObject struct {
	cli.Envelope
	ContactEntry
}

// ContactEntry is a contact and what it may do.
type ContactEntry struct {
	PeerRef
	Policy *ContactPolicy `json:"policy,omitempty"` // absent: as for any contact
}

// ContactList is what `contact ls` prints.
type ContactList struct {
	cli.Envelope
	Contacts []ContactEntry `json:"contacts"`
}

// TransferList is what `inbox ls` prints.
type TransferList struct {
	cli.Envelope
	Transfers []Transfer `json:"transfers"`
}
