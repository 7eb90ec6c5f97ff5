package dht

import (
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// Record is the body of the presence record that is published now, for a notice.
func (c *Courier) Record() []byte { return appendRecord(nil, c.places()) }

// Learn takes where a contact is from a notice of it, which is newer than whatever a lookup has found, and tells those who wait for its presence.
func (c *Courier) Learn(peer identity.DeviceID, body []byte) error {
	where, err := parseRecord(body)
	if err != nil {
		return err
	}
	c.finds.learn(peer, record{expiry: time.Now().Add(signalling.NoticeLife), places: where})
	return nil
}

// learn replaces what is known of peer. What lookups bring from now on counts when it was written after what they had brought before.
func (fs *finds) learn(peer identity.DeviceID, r record) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.entryLocked(peer)
	if f.known && f.record.expiry.After(f.stale) {
		f.stale = f.record.expiry
	}
	if r.expiry.Before(f.record.expiry) {
		r.expiry = f.record.expiry
	}
	f.record, f.known = r, true
	close(f.better)
	f.better = make(chan struct{})
}

// of is closed with the next record of peer that is better than the one now.
func (fs *finds) of(peer identity.DeviceID) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.entryLocked(peer).better
}

func (fs *finds) entryLocked(peer identity.DeviceID) *find {
	f := fs.byPeer[peer]
	if f == nil {
		fs.makeRoomLocked()
		f = &find{better: make(chan struct{})}
		fs.byPeer[peer] = f
	}
	return f
}
