package signalling

import (
	"sync"

	"traverse.internal/identity"
)

// maxSecrets are kept: twice the contacts that a device may have. Contacts come and go; rarely enough that starting anew is simplest.
const maxSecrets = 8192

// Secrets are what a device shares with others, each computed once: X25519 costs 60 us. All routes of a device have the same. Safe for
// concurrent use.
type Secrets struct {
	device *identity.Device

	mu    sync.Mutex // guards the field below
	known map[identity.DeviceID][32]byte
}

// NewSecrets makes them for a device. The device's own id is a peer as good as another.
func NewSecrets(device *identity.Device) *Secrets {
	return &Secrets{device: device, known: map[identity.DeviceID][32]byte{}}
}

// Of returns what the device shares with peer.
func (s *Secrets) Of(peer identity.DeviceID) ([32]byte, error) {
	s.mu.Lock()
	secret, ok := s.known[peer]
	s.mu.Unlock()
	if ok {
		return secret, nil
	}
	secret, err := s.device.Shared(peer)
	if err != nil {
		return secret, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxSecrets {
		clear(s.known)
	}
	s.known[peer] = secret
	return secret, nil
}
