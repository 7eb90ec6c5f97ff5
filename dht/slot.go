package dht

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

// purpose says what a pairwise slot is for. It goes into the derivation as it is spelt.
type purpose string

const (
	forPresence purpose = "presence"
	forRequest  purpose = "request"
	forAnswer   purpose = "answer"
	forHint     purpose = "hint" // no slot: the mark of a direct request
)

const (
	slotSalt    = "traverse slot" // HKDF's salt of every derivation here
	calltoLabel = "callto:"
	calltoSlots = 4 // boxes a stranger can choose from; whoever knows the id can block one with one item an hour
)

// slot is a place in the DHT that can be found, read and written only by who knows its seed.
type slot struct {
	key    ed25519.PrivateKey
	public [32]byte
}

func slotOf(seed []byte) slot {
	key := ed25519.NewKeyFromSeed(seed)
	return slot{key: key, public: [32]byte(key.Public().(ed25519.PublicKey))}
}

// pairSlot is where sender leaves something for recipient in that hour. Both know the secret, X25519 of their keys.
func pairSlot(secret [32]byte, p purpose, sender, recipient identity.DeviceID, hour int64) slot {
	return slotOf(derive(secret[:], pairInfo(p, sender, recipient, hour), ed25519.SeedSize))
}

// calltoSlot is one of the boxes where anyone who knows the id can leave a message in that hour.
func calltoSlot(id identity.DeviceID, hour int64, n int) slot {
	info := append([]byte(calltoLabel), id[:]...)
	info = binary.BigEndian.AppendUint64(info, uint64(hour))
	return slotOf(derive(id[:], append(info, byte(n)), ed25519.SeedSize))
}

// hintOf marks a direct request from sender to recipient, so that the recipient spends cryptography on its contacts
// only.
func hintOf(secret [32]byte, sender, recipient identity.DeviceID, hour int64) (h hint) {
	copy(h[:], derive(secret[:], pairInfo(forHint, sender, recipient, hour), len(h)))
	return h
}

// pairInfo is purpose | sender | recipient | hour. What follows the purpose has a fixed length, so no two read alike.
func pairInfo(p purpose, sender, recipient identity.DeviceID, hour int64) []byte {
	info := append([]byte(p), sender[:]...)
	info = append(info, recipient[:]...)
	return binary.BigEndian.AppendUint64(info, uint64(hour))
}

func derive(secret, info []byte, n int) []byte {
	out, err := hkdf.Key(sha256.New, secret, []byte(slotSalt), string(info), n)
	if err != nil {
		panic("dht: hkdf: " + err.Error()) // only for a length that our constants do not have
	}
	return out
}

// hourOf numbers the hours since 1970.
func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// hoursToRead lists the hours whose slots may hold something that was written at most life ago, by a clock that is
// wrong by Skew: the current one always, a neighbour near the change.
func hoursToRead(now time.Time, life time.Duration) (hours []int64) {
	for h := hourOf(now.Add(-signalling.Skew - life)); h <= hourOf(now.Add(signalling.Skew)); h++ {
		hours = append(hours, h)
	}
	return hours
}

// sequenceNow is the sequence number of what is written now: milliseconds since 1970, so that it grows without being
// kept anywhere. Where a clock went back, Put takes the next number after the one that is there.
func sequenceNow() int64 { return time.Now().UnixMilli() }
