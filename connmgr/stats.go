package connmgr

import (
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// counters are the Manager's own; Stats copies them.
type counters struct {
	attempts, failures, answered, answerFailures, refused atomic.Uint64
	glares, resumed, linksLost, declinedBusy              atomic.Uint64

	upgraded, upgradesFailed, revived atomic.Uint64

	mu         sync.Mutex // guards the fields below
	paths      map[PathKind]uint64
	migrations map[Migration]uint64
}

// Migration is a kind of move of a session from path to path.
type Migration struct {
	From, To string      // direct or relayed
	Reason   reason.Code // of the new path
}

// PathKind is a kind of established path. The reason codes are an enum, so the map of them is small.
type PathKind struct {
	Kind   string // direct or relayed
	Via    string // host/tcp, relay/tcp, …
	Reason reason.Code
}

func (c *counters) established(r ice.Route) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paths == nil {
		c.paths = map[PathKind]uint64{}
	}
	c.paths[PathKind{r.Kind, r.Via, r.Reason}]++
}

func (c *counters) migrated(from, to ice.Route) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.migrations == nil {
		c.migrations = map[Migration]uint64{}
	}
	c.migrations[Migration{from.Kind, to.Kind, to.Reason}]++
}

// Stats counts since the Manager was made; the gauges at the end are of now.
type Stats struct {
	Attempts, Failures       uint64 // outgoing
	Answered, AnswerFailures uint64 // incoming requests that were answered; those of them that led to no session
	Refused                  uint64 // incoming requests met with silence
	Glares                   uint64 // both sides called at once and both registered
	LinksLost, Resumed       uint64 // links that died under open channels; links attached to a lingering session
	DeclinedBusy             uint64 // channel requests declined because nobody took them
	EventsDropped            uint64
	Paths                    map[PathKind]uint64 // established, by kind, first links and later ones
	Upgraded, UpgradesFailed uint64              // tries for a direct path of a relayed session
	Revived                  uint64              // times a session went back to the link that was kept for it
	Migrations               map[Migration]uint64

	Sessions, Lingering, Draining int
	Warm                          int // relayed links that are kept for sessions that moved away from them
	Channels                      int
	ChannelsOpened                uint64 // by either side, on all sessions that there were
	FileSent, FileCopied          uint64 // bytes of files on all those: sent by the kernel (sendfile), and through a buffer
	Dialling, Answering           int
}

// Stats returns a copy of the counters.
func (m *Manager) Stats() Stats {
	c := &m.stats
	st := Stats{
		Attempts: c.attempts.Load(), Failures: c.failures.Load(), Answered: c.answered.Load(), AnswerFailures: c.answerFailures.Load(),
		Refused: c.refused.Load(), Glares: c.glares.Load(), LinksLost: c.linksLost.Load(), Resumed: c.resumed.Load(),
		DeclinedBusy: c.declinedBusy.Load(), Paths: map[PathKind]uint64{},
		Upgraded: c.upgraded.Load(), UpgradesFailed: c.upgradesFailed.Load(), Revived: c.revived.Load(), Migrations: map[Migration]uint64{},
	}
	c.mu.Lock()
	for k, n := range c.paths {
		st.Paths[k] = n
	}
	for k, n := range c.migrations {
		st.Migrations[k] = n
	}
	c.mu.Unlock()
	m.events.mu.Lock()
	st.EventsDropped = m.events.dropped
	m.events.mu.Unlock()
	m.mu.Lock()
	st.Dialling, st.Answering = m.dialling, m.answers
	st.ChannelsOpened = m.opened
	st.FileSent, st.FileCopied = m.fileSent, m.fileCopied
	st.Warm = len(m.warm)
	live := m.sessionsLocked()
	m.mu.Unlock()
	for _, info := range describe(live, m.self) {
		st.Sessions++
		st.ChannelsOpened += info.Mux.Opened + info.Mux.Accepted
		st.FileSent += info.Mux.FileSent
		st.FileCopied += info.Mux.FileCopied
		switch info.State {
		case StateLingering:
			st.Lingering++
		case StateDraining:
			st.Draining++
		}
		st.Channels += len(info.Channels)
	}
	return st
}

// sessionsLocked lists the sessions with all devices, in no particular order.
func (m *Manager) sessionsLocked() []*session {
	var all []*session
	for _, p := range m.peers {
		for s := range p.sessions {
			all = append(all, s)
		}
	}
	return all
}

// SessionState is what a session is doing.
type SessionState string

// The states of a session.
const (
	StateConnected SessionState = "connected"
	StateLingering SessionState = "lingering" // its link died; waiting for a new one
	StateDraining  SessionState = "draining"  // superseded; ends with its last channel
)

// SessionInfo describes one session.
type SessionInfo struct {
	Info
	State    SessionState
	Offerer  bool // this device called
	Since    time.Time
	InKernel bool // the kernel seals and opens the link's records
	Channels []mux.ChannelInfo
	Mux      mux.Stats
}

// Sessions describes the sessions with all devices, in no particular order.
func (m *Manager) Sessions() []SessionInfo {
	m.mu.Lock()
	all := m.sessionsLocked()
	m.mu.Unlock()
	return describe(all, m.self)
}

func describe(all []*session, self identity.DeviceID) []SessionInfo {
	infos := make([]SessionInfo, 0, len(all))
	for _, s := range all {
		state := StateConnected
		switch {
		case s.draining.Load():
			state = StateDraining
		case !s.linkUp():
			state = StateLingering
		}
		infos = append(infos, SessionInfo{
			Info: s.info(), State: state, Offerer: s.offerer == self, Since: s.created, InKernel: s.inKernel(),
			Channels: s.mux.Channels(), Mux: s.mux.Stats(),
		})
	}
	return infos
}

// Connecting lists the devices toward which an attempt is in progress.
func (m *Manager) Connecting() []identity.DeviceID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []identity.DeviceID
	for id, p := range m.peers {
		if p.dial != nil {
			ids = append(ids, id)
		}
	}
	return ids
}
