package daemon

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"traverse.internal/identity"
)

// Presence is how it stands with a device.
type Presence struct {
	State    string     `json:"state,omitempty"`     // of the session with it: idle, connecting, connected, lingering, draining; absent: no node runs, or it is this device
	LastSeen *time.Time `json:"last_seen,omitempty"` // when it was last connected with this one, where it is not now; absent: never, as far as is known
	Path     *Path      `json:"path,omitempty"`
}

// sightings remember when devices were last connected: seen.json of a home, written once an hour and at the end. Nothing depends on it, so a damaged one is as good as
// none. Safe for concurrent use.
type sightings struct {
	path string

	mu    sync.Mutex // guards the fields below
	at    map[identity.DeviceID]time.Time
	dirty bool
}

func loadSeen(h Home) *sightings {
	s := &sightings{path: filepath.Join(h.State, "seen.json"), at: map[identity.DeviceID]time.Time{}}
	if raw, err := os.ReadFile(s.path); err == nil {
		_ = json.Unmarshal(raw, &s.at)
	}
	return s
}

func (s *sightings) note(id identity.DeviceID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[id], s.dirty = at.UTC().Truncate(time.Second), true
}

func (s *sightings) last(id identity.DeviceID) *time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.at[id]; ok {
		return &at
	}
	return nil
}

// store writes what changed, without devices that nobody knows any more: guests, and who is no contact now.
func (s *sightings) store(known func(identity.DeviceID) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	maps.DeleteFunc(s.at, func(id identity.DeviceID, _ time.Time) bool { return !known(id) })
	raw, err := json.Marshal(s.at)
	if err == nil {
		err = replaceFile(s.path, append(raw, '\n'))
	}
	s.dirty = err != nil
	return err
}

func (d *Daemon) storeSeen() {
	known := map[identity.DeviceID]bool{}
	for _, p := range d.contacts.each() {
		known[p.Device] = true
	}
	if err := d.seen.store(func(id identity.DeviceID) bool { return known[id] }); err != nil {
		d.log.Warn("when devices were last seen cannot be stored", "error", err)
	}
}

// presences are those of all devices that are known.
func (d *Daemon) presences() map[identity.DeviceID]Presence {
	var s Status
	d.peers(&s)
	all := map[identity.DeviceID]Presence{}
	for _, p := range s.Peers {
		id, err := identity.ParseDeviceID(p.Device)
		if err != nil {
			continue
		}
		one := Presence{State: p.State, Path: p.Path}
		if p.Path == nil {
			one.LastSeen = d.seen.last(id)
		}
		all[id] = one
	}
	return all
}

// DeviceList lists the devices of this one's account, and how it stands with each.
func (d *Daemon) DeviceList() DeviceList {
	list := deviceList(d.contacts, d.self, d.cfg.Name, d.account.key != nil)
	list.present(d.seen, d.presences())
	return list
}

// present adds how it stands with the devices; now is nil where no node runs.
func (l *DeviceList) present(s *sightings, now map[identity.DeviceID]Presence) {
	for i := range l.Devices {
		dev := &l.Devices[i]
		switch {
		case dev.Self:
		case now == nil:
			dev.LastSeen = s.last(dev.ID)
		default:
			dev.Presence = now[dev.ID]
		}
	}
}
