package daemon

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// Session is a session with a peer: what `conns` lists.
type Session struct {
	ID       string        `json:"id"`
	Peer     PeerRef       `json:"peer"`
	State    string        `json:"state"` // connected, lingering, draining
	Path     *Path         `json:"path,omitempty"`
	Since    time.Time     `json:"since"`
	Offerer  bool          `json:"offerer"` // this side called
	Channels int           `json:"channels"`
	RTT      time.Duration `json:"rtt_ns"` // the shortest round trip of this link; 0: not known yet
	BytesIn  uint64        `json:"bytes_in"`
	BytesOut uint64        `json:"bytes_out"`
	Queued   int           `json:"queued"`   // bytes that wait for the writer
	Retained int           `json:"retained"` // bytes kept until the peer has acknowledged them
	Unread   int           `json:"unread"`   // bytes received and not read
	Resent   uint64        `json:"bytes_resent"`
	Links    uint64        `json:"links_lost"`
	TLS      string        `json:"tls"`                 // kernel or user: who seals and opens the link's records
	Sendfile uint64        `json:"bytes_file_sendfile"` // of files, sent by the kernel
	Copied   uint64        `json:"bytes_file_copy"`     // of files, read when sent and copied
}

// SessionList is what `conns` prints.
type SessionList struct {
	cli.Envelope
	Sessions []Session `json:"sessions"`
}

// Channel is an open channel: what `channels` lists.
type Channel struct {
	ID       int           `json:"id"`
	Session  string        `json:"session"`
	Peer     PeerRef       `json:"peer"`
	Name     string        `json:"name"`
	Inbound  bool          `json:"inbound"` // the peer opened it
	Opened   time.Time     `json:"opened"`
	BytesIn  uint64        `json:"bytes_in"`
	BytesOut uint64        `json:"bytes_out"`
	Unread   int           `json:"unread"`
	Window   int           `json:"window"` // bytes that may lie unread
	Queued   int           `json:"queued"`
	RTT      time.Duration `json:"rtt_ns"` // of the session's link
	EndIn    bool          `json:"end_in"` // the peer has closed its direction
	EndOut   bool          `json:"end_out"`
}

// ChannelList is what `channels` prints.
type ChannelList struct {
	cli.Envelope
	Channels []Channel `json:"channels"`
}

// Kicked is what `kick` prints.
type Kicked struct {
	cli.Envelope
	Peer     PeerRef `json:"peer"`
	Sessions int     `json:"sessions"` // how many were ended
}

// sessions are the manager's, oldest first.
func (d *Daemon) sessions() []connmgr.SessionInfo {
	list := d.manager.Sessions()
	slices.SortFunc(list, func(a, b connmgr.SessionInfo) int {
		return cmp.Or(a.Since.Compare(b.Since), slices.Compare(a.SessionID[:], b.SessionID[:]))
	})
	return list
}

func (d *Daemon) refOf(id identity.DeviceID) PeerRef {
	return PeerRef{d.contacts.NameOf(id), id.String()}
}

// SessionList describes the sessions.
func (d *Daemon) SessionList() SessionList {
	out := SessionList{envelope("sessions"), []Session{}}
	for _, s := range d.sessions() {
		out.Sessions = append(out.Sessions, Session{
			ID: hex.EncodeToString(s.SessionID[:4]), Peer: d.refOf(s.Peer), State: string(s.State), Path: pathOf(s.Route), Since: s.Since,
			Offerer: s.Offerer, Channels: len(s.Channels), RTT: s.Mux.RoundTrip, BytesIn: s.Mux.BytesIn, BytesOut: s.Mux.BytesOut,
			Queued: s.Mux.Queued, Retained: s.Mux.Retained, Unread: s.Mux.Unread, Resent: s.Mux.BytesResent, Links: s.Mux.LinksLost,
			TLS: tlsOf(s.InKernel), Sendfile: s.Mux.FileSent, Copied: s.Mux.FileCopied,
		})
	}
	return out
}

func tlsOf(kernel bool) string {
	if kernel {
		return "kernel"
	}
	return "user"
}

// ChannelList describes the open channels, of one contact where who is not "".
func (d *Daemon) ChannelList(who string) (ChannelList, error) {
	out := ChannelList{envelope("channels"), []Channel{}}
	var only *Contact
	if who != "" {
		c, err := d.contacts.Find(who)
		if err != nil {
			return out, err
		}
		only = &c
	}
	wanted := func(id identity.DeviceID) bool {
		return only == nil || slices.ContainsFunc(only.meant(d.self), func(p PeerDevice) bool { return p.Device == id })
	}
	for _, s := range d.sessions() {
		if !wanted(s.Peer) {
			continue
		}
		for _, c := range s.Channels {
			out.Channels = append(out.Channels, Channel{
				ID: int(c.ID), Session: hex.EncodeToString(s.SessionID[:4]), Peer: d.refOf(s.Peer), Name: c.Name, Inbound: c.Inbound, Opened: c.Opened,
				BytesIn: c.BytesIn, BytesOut: c.BytesOut, Unread: c.Unread, Window: c.Window, Queued: c.Queued, RTT: s.Mux.RoundTrip,
				EndIn: c.EndIn, EndOut: c.EndOut,
			})
		}
	}
	return out, nil
}

// Kick ends the sessions with a contact; what asks for a channel later connects anew.
func (d *Daemon) Kick(who string) (Kicked, error) {
	c, err := d.contacts.Find(who)
	if err != nil {
		return Kicked{}, err
	}
	return Kicked{envelope("kicked"), PeerRef{c.Name, c.Device.String()}, d.disconnect(c)}, nil
}
