package connmgr

import (
	"slices"
	"sync"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// Limits of what is kept of past attempts: 128 devices with 8 attempts of 64 ways of about 200 bytes are 13 MiB at most;
// an attempt has 10 ways where both ends have two addresses and a relay.
const (
	maxReports     = 8   // per device
	maxTries       = 64  // per attempt
	maxReportPeers = 128 // the device heard of longest ago is forgotten
)

// Report is one attempt to find a path to a device, and how it ended.
type Report struct {
	Began  time.Time
	Took   time.Duration
	Role   ice.Role
	Stage  Stage       // the last that was entered
	Route  ice.Route   // the zero value without a path
	Reason reason.Code // the route's, or the error's; empty when it has none
	Err    error       // nil: a link was made
	ICE    ice.Report

	Carried  string        // the route by which the answer, or the request that this side answered, came: a signalling.Route's name, or "session"; "": none did
	Answered time.Duration // offerer: from the request to its answer, or to the end of waiting for one; 0: nothing was asked
}

// asked is how an attempt's offers were exchanged.
type asked struct {
	began time.Time // of the attempt
	by    string
	took  time.Duration
}

// reporter is a PathAttempt that tells what it tried; after its end, too.
type reporter interface{ Report() ice.Report }

// history keeps the last attempts, and what happened to links, per device, oldest first.
type history struct {
	mu      sync.Mutex
	peers   map[identity.DeviceID][]Report
	stories map[identity.DeviceID][]Event
	order   []identity.DeviceID // heard of longest ago first
}

func (h *history) add(id identity.DeviceID, r Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.peers == nil {
		h.peers = map[identity.DeviceID][]Report{}
	}
	h.heardLocked(id)
	kept := append(h.peers[id], r)
	h.peers[id] = slices.Clone(kept[max(0, len(kept)-maxReports):])
}

// note keeps what became of an attempt. at is nil when nothing was gathered.
func (m *Manager) note(id identity.DeviceID, role ice.Role, how asked, at PathAttempt, route ice.Route, stage Stage, err error) {
	r := Report{
		Began: how.began, Took: time.Since(how.began), Role: role, Stage: stage, Route: route, Reason: route.Reason, Err: err,
		Carried: how.by, Answered: how.took,
	}
	if err != nil {
		r.Reason = reason.Of(err)
	}
	if at, ok := at.(reporter); ok {
		r.ICE = at.Report()
		r.ICE.Tries = r.ICE.Tries[:min(len(r.ICE.Tries), maxTries)]
	}
	m.past.add(id, r)
}

// maxStory is how many events are kept of each device, 300 bytes each: with maxReportPeers 1.2 MiB at most.
const maxStory = 32

// tell keeps what happened to a link and hands it to the observer.
func (m *Manager) tell(e Event) {
	if e.Kind != EventConnecting && e.Kind != EventNewDevice && e.Kind != EventFailed {
		m.past.happened(e)
	}
	m.events.push(e)
}

func (h *history) happened(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stories == nil {
		h.stories = map[identity.DeviceID][]Event{}
	}
	h.heardLocked(e.Peer)
	kept := append(h.stories[e.Peer], e)
	h.stories[e.Peer] = slices.Clone(kept[max(0, len(kept)-maxStory):])
}

// heardLocked makes the device the one heard of last, and forgets another beyond the limit.
func (h *history) heardLocked(id identity.DeviceID) {
	h.order = append(slices.DeleteFunc(h.order, func(other identity.DeviceID) bool { return other == id }), id)
	if len(h.order) > maxReportPeers {
		delete(h.peers, h.order[0])
		delete(h.stories, h.order[0])
		h.order = h.order[1:]
	}
}

// Story returns what happened to the links of the sessions with the device: when each came, moved or died and by what sign, oldest first.
func (m *Manager) Story(id identity.DeviceID) []Event {
	m.past.mu.Lock()
	defer m.past.mu.Unlock()
	return slices.Clone(m.past.stories[id])
}

// Reports returns the last attempts to find a path to the device, by either side, oldest first.
func (m *Manager) Reports(id identity.DeviceID) []Report {
	m.past.mu.Lock()
	defer m.past.mu.Unlock()
	return slices.Clone(m.past.peers[id])
}
