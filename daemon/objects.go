package daemon

import (
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/identity"
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

// Transfer is what one offer is about, in either direction: a file, a folder, or several of them.
type Transfer struct {
	cli.Envelope
	ID    string `json:"id"`
	Group string `json:"group,omitempty"` // id of the transfer to several devices that this one is a part of
	// Interaction is what both sides call it where it went to several devices, or was announced before; else that is its id.
	Interaction string   `json:"interaction,omitempty"`
	Direction   string   `json:"direction"` // send or receive
	State       State    `json:"state"`
	Peer        PeerRef  `json:"peer"`
	File        string   `json:"file"`            // name offered, of the first; where it was stored, once received
	Names       []string `json:"names,omitempty"` // where all of them were stored, if more than one
	Files       int      `json:"files"`           // how many, folders and links not counted
	Entries     int      `json:"entries"`         // files, folders and links
	Skipped     int      `json:"skipped,omitempty"`
	// What of it the receiver has left at the sender, because it chose a part or has files of those names. Size counts it, Bytes never gets there.
	UnwantedBytes int64      `json:"unwanted_bytes,omitempty"`
	UnwantedFiles int        `json:"unwanted_files,omitempty"`
	Note          string     `json:"note,omitempty"`     // the sender's words
	Priority      string     `json:"priority,omitempty"` // of a transfer that is sent: low or high
	Bytes         int64      `json:"bytes"`
	Size          int64      `json:"size"`
	RateBPS       int64      `json:"rate_bps"`            // bytes per second since the body began to move in this run
	ETA           int64      `json:"eta_ns,omitempty"`    // nanoseconds to go, at that rate
	Resent        int64      `json:"resent_bytes"`        // bytes that had reached the receiver and had to be sent again
	Runs          int        `json:"runs"`                // how often it was begun or gone on with
	PausedBy      string     `json:"paused_by,omitempty"` // this side or peer
	RetryAt       *time.Time `json:"retry_at,omitempty"`  // when a queued transfer is tried again, at the latest
	Digest        string     `json:"digest,omitempty"`    // over the whole offer, once it is done
	SHA3          string     `json:"sha3,omitempty"`      // of the file, where it is one, some time after it is done
	Path          *Path      `json:"path,omitempty"`
	// Devices are those that a transfer to several goes to. State is then the most advanced of any of theirs, and there is an error only where all have one.
	Devices []DeviceTransfer `json:"devices,omitempty"`
	// Sources are the devices from which something that this one has asked for comes.
	Sources []SourceObject `json:"sources,omitempty"`
	Created time.Time      `json:"created"`
	Ended   *time.Time     `json:"ended,omitempty"`
	Error   *cli.Error     `json:"error,omitempty"` // how it ended, or why it is queued
}

// State is the phase of a transfer.
type State string

// The phases, in order; the last four are ends. From failed and cancelled a transfer can be taken up again.
const (
	StateQueued     State = "queued" // waits for the peer to be there
	StateConnecting State = "connecting"
	StateOffered    State = "offered"
	StateSending    State = "sending"
	StateReceiving  State = "receiving"
	StateVerifying  State = "verifying"
	StatePaused     State = "paused" // by a person, or the link died and the session waits for a new one
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
	Push      []PushStatus `json:"push,omitempty"`  // of the relays that hand requests over at once
	Turnd     []string     `json:"turnd,omitempty"` // listening addresses of the embedded relay
	Metrics   string       `json:"metrics,omitempty"`
	Dashboard string       `json:"dashboard,omitempty"` // URL of the status page
	Peers     []PeerStatus `json:"peers"`
	Transfers []Transfer   `json:"transfers"`
	Warnings  []string     `json:"warnings,omitempty"` // what somebody should look at
	Draining  *DrainStatus `json:"draining,omitempty"`
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
	Policy  *ContactPolicy          `json:"policy,omitempty"`  // absent: as for any contact
	Account string                  `json:"account,omitempty"` // absent: a single device
	Devices []identity.ListedDevice `json:"devices,omitempty"` // of the account
	Expires *time.Time              `json:"expires,omitempty"` // of the list of devices
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
