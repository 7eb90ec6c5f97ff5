package daemon

import (
	"slices"
	"strconv"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/internal/cli"
)

// Why is what `why` prints: the path to a contact, and how the last attempts to find one went.
type Why struct {
	cli.Envelope
	Peer     PeerRef      `json:"peer"`
	Path     *Path        `json:"path,omitempty"`    // of the session that there is now
	Attempts []WhyAttempt `json:"attempts"`          // the newest last; at most 8 for each of the contact's devices
	Calling  []WhyCall    `json:"calling,omitempty"` // devices that are being asked now, and have not answered
	Warnings []string     `json:"warnings,omitempty"`
	Story    []WhyTurn    `json:"story"` // what happened to the links, the newest last; at most 32 events for each device
}

// WhyCall is a device that is asked for a path now.
type WhyCall struct {
	Device  string `json:"device"`
	Present bool   `json:"present"` // a record of it that holds was found
	Means   string `json:"means"`
	Change  string `json:"change"`
}

// whyCall says of a device that is asked what an end without an answer would be called.
func whyCall(device string, present bool) WhyCall {
	code := reason.NoRecord
	if present {
		code = reason.PeerSilent
	}
	advice := reason.Explain(code)
	return WhyCall{device, present, advice.Means, advice.Change}
}

// WhyTurn is one thing that happened to the link of a session.
type WhyTurn struct {
	Device string        `json:"device"`
	Time   time.Time     `json:"time"`
	What   string        `json:"what"`              // began, moved, died, again (another link of the same kind) or ended
	Path   *Path         `json:"path,omitempty"`    // the link's; after a move the new one's
	From   *Path         `json:"from,omitempty"`    // moved: the one before
	Took   time.Duration `json:"took_ns,omitempty"` // to bring the link
	Kept   bool          `json:"kept,omitempty"`    // it was kept since the session moved away from it
	Alive  bool          `json:"alive,omitempty"`   // moved: the link before still lived
	Error  string        `json:"error,omitempty"`   // died, ended: the sign by which that was seen
}

// WhyAttempt is one attempt to find a path, and what was decided.
type WhyAttempt struct {
	Device  string        `json:"device"`
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took_ns"`
	Called  bool          `json:"called"`          // this side began it
	Outcome string        `json:"outcome"`         // direct, relayed or failed
	Stage   string        `json:"stage"`           // the last step: gather, signal, negotiate, secure, session
	Asked   *WhyAsked     `json:"asked,omitempty"` // how the offers were exchanged; none: nothing was asked
	Path    *Path         `json:"path,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Means   string        `json:"means,omitempty"`  // the reason, in a sentence
	Change  string        `json:"change,omitempty"` // what would change it
	Error   string        `json:"error,omitempty"`
	Policy  string        `json:"policy"` // that ruled
	Here    WhyNetwork    `json:"here"`
	There   WhyNetwork    `json:"there"`
	Relays  string        `json:"relays,omitempty"` // why relays of ours lent nothing
	Pairs   []WhyPair     `json:"pairs"`
}

// WhyAsked is how the request of an attempt went.
type WhyAsked struct {
	Route string        `json:"route,omitempty"`   // by which the answer, or the request that this side answered, came: direct, lan, push, slot, or session; none: no answer came
	Took  time.Duration `json:"took_ns,omitempty"` // from the request to its answer, or to the end of waiting; of requests of this side
}

// WhyNetwork is what an end knew of its network; all false where nothing stands in the way, or nothing is known.
type WhyNetwork struct {
	Symmetric bool   `json:"symmetric"`   // its NAT maps every destination anew
	Filtered  bool   `json:"filtered"`    // TCP leaves only to some ports
	NoUDP     bool   `json:"udp_blocked"` // no server answered over UDP
	Mapping   string `json:"mapping"`     // none, upnp, pmp or pcp
}

// WhyPair is one candidate pair and what became of it.
type WhyPair struct {
	Kind   string        `json:"kind"`            // direct or relayed
	Via    string        `json:"via"`             // the peer's candidate and the transport, host/tcp for example
	Local  string        `json:"local,omitempty"` // our end, where a connection was there at the end
	Remote string        `json:"remote"`
	State  string        `json:"state"`
	Dials  int           `json:"dials"`
	After  time.Duration `json:"after_ns"` // from the attempt's beginning to the newest change; 0: nothing was done
	Error  string        `json:"error,omitempty"`
}

// Why tells how the last attempts to reach a contact went, by either side. last bounds them; 0: all that are kept.
func (d *Daemon) Why(who string, last int) (Why, error) {
	c, err := d.contacts.Find(who)
	if err != nil {
		return Why{}, err
	}
	w := Why{Envelope: envelope("why"), Peer: PeerRef{c.Name, c.Device.String()}, Attempts: []WhyAttempt{}, Story: []WhyTurn{}}
	for _, p := range c.meant(d.self) {
		if calling, present := d.signaler.Calling(p.Device); calling {
			w.Calling = append(w.Calling, whyCall(p.Device.String(), present))
		}
		for _, r := range d.manager.Reports(p.Device) {
			w.Attempts = append(w.Attempts, whyAttempt(p.Device.String(), r))
		}
		w.Story = append(w.Story, whyStory(p.Device.String(), d.manager.Story(p.Device))...)
		for _, s := range d.sessions() {
			if s.Peer == p.Device && s.State == connmgr.StateConnected {
				w.Path = pathOf(s.Route)
			}
		}
	}
	slices.SortStableFunc(w.Attempts, func(a, b WhyAttempt) int { return a.Began.Compare(b.Began) })
	if n := d.signaler.Stats().Expired; n > 0 {
		w.Warnings = append(w.Warnings, clockWarning(n))
	}
	slices.SortStableFunc(w.Story, func(a, b WhyTurn) int { return a.Time.Compare(b.Time) })
	if last > 0 {
		w.Attempts = w.Attempts[max(0, len(w.Attempts)-last):]
	}
	return w, nil
}

// whyStory tells what happened to the links of sessions with a device.
func whyStory(device string, events []connmgr.Event) (story []WhyTurn) {
	words := map[connmgr.EventKind]string{
		connmgr.EventConnected: "began", connmgr.EventPath: "moved", connmgr.EventLinkDown: "died",
		connmgr.EventLinkUp: "again", connmgr.EventEnded: "ended",
	}
	for i, e := range events {
		what, ok := words[e.Kind]
		if !ok || e.Kind == connmgr.EventLinkUp && i+1 < len(events) && events[i+1].Kind == connmgr.EventPath && events[i+1].Session == e.Session {
			continue // the move says it
		}
		t := WhyTurn{Device: device, Time: e.Time, What: what, Path: pathOf(e.Route), Kept: e.Kept, Alive: e.Alive, Error: whyError(e.Err)}
		switch e.Kind {
		case connmgr.EventPath:
			t.From = pathOf(e.From)
			t.Took = e.Setup
		case connmgr.EventConnected, connmgr.EventLinkUp:
			t.Took = e.Setup
		}
		story = append(story, t)
	}
	return story
}

func whyAttempt(device string, r connmgr.Report) WhyAttempt {
	advice := reason.Explain(r.Reason)
	a := WhyAttempt{
		Device: device, Began: r.Began, Took: r.Took, Called: r.Role == ice.Offerer, Outcome: r.Route.Kind, Stage: string(r.Stage),
		Path: pathOf(r.Route), Reason: string(r.Reason), Means: advice.Means, Change: advice.Change, Error: whyError(r.Err),
		Policy: r.ICE.Policy.String(), Here: whyNetwork(r.ICE.Ours), There: whyNetwork(r.ICE.Theirs), Relays: whyError(r.ICE.Relays),
		Pairs: []WhyPair{},
	}
	if r.Carried != "" || r.Answered > 0 {
		a.Asked = &WhyAsked{r.Carried, r.Answered}
	}
	if r.Err != nil {
		a.Outcome, a.Path = "failed", nil
	}
	for _, t := range r.ICE.Tries {
		p := WhyPair{Kind: ice.Direct, Via: t.Type.String() + "/tcp", Remote: t.Addr.String(), State: t.State, Dials: t.Dials, After: t.After, Error: whyError(t.Err)}
		if t.UDP {
			p.Via = t.Type.String() + "/udp"
		}
		if t.Relayed {
			p.Kind = ice.Relayed
		}
		if t.Local.IsValid() {
			p.Local = t.Local.String()
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a
}

// maxWhyError bounds an error in the report: a peer may have a say in its words.
const maxWhyError = 400

func whyError(err error) string {
	if err == nil {
		return ""
	}
	line := cli.OneLine(err.Error())
	return line[:min(len(line), maxWhyError)]
}

func whyNetwork(n ice.Network) WhyNetwork {
	return WhyNetwork{Symmetric: n.Symmetric, Filtered: n.Filtered, NoUDP: n.UDPBlocked, Mapping: n.Mapping.String()}
}

// lastOf reads the query's number; nothing is all.
func lastOf(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, cli.Errorf("E_USAGE", "last=%s is no number of attempts", s).Hint("node why -h")
	}
	return n, nil
}
