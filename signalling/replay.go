package signalling

import (
	"time"

	"traverse.internal/identity"
)

// Limits of the replay cache. An id is remembered until the message's expiry plus Skew; what arrives may expire
// MaxLife + Skew ahead, so it stays 12 minutes at most: 120 s + 2 * 300 s. 4,096 places then bear 5.6 requests a second
// for ever. With each place goes the answer, of 992 bytes at most: 4,096 * (992 + 300) = 5.3 MB.
const (
	replayPlaces    = 4096
	replayStrangers = replayPlaces / 2 // so many at most for senders that are no contacts
	replayPerSender = 256              // and so many for any one sender: 21 requests a minute for ever
)

// verdict is what the replay cache says of a request.
type verdict uint8

const (
	admitNew  verdict = iota // never seen: handle it
	admitSeen                // seen before: the answer, if any, may be sent again, nothing else
	admitFull                // no place for its id, so it cannot be handled only once: refuse
)

type replayKey struct {
	from identity.DeviceID // ids are the sender's to choose: one sender's must not shadow another's
	id   RequestID
}

type replayEntry struct {
	until    time.Time
	stranger bool
	exchange *exchange
}

// replayCache remembers the requests that were handled. It is pure state: time comes as an argument, it never blocks,
// and it needs its owner's lock.
type replayCache struct {
	entries   map[replayKey]replayEntry
	strangers int
	perSender map[identity.DeviceID]int
	swept     time.Time
}

func newReplayCache() replayCache {
	return replayCache{entries: map[replayKey]replayEntry{}, perSender: map[identity.DeviceID]int{}}
}

// admit says whether the request is to be handled, and returns the exchange that stands for it: fresh with admitNew,
// the one from before with admitSeen.
func (c *replayCache) admit(now time.Time, from identity.DeviceID, id RequestID, until time.Time, stranger bool) (*exchange, verdict) {
	key := replayKey{from, id}
	if e, ok := c.entries[key]; ok {
		return e.exchange, admitSeen
	}
	if c.full(from, stranger) {
		c.sweep(now)
		if c.full(from, stranger) {
			return nil, admitFull
		}
	}
	x := &exchange{}
	c.entries[key] = replayEntry{until: until, stranger: stranger, exchange: x}
	c.perSender[from]++
	if stranger {
		c.strangers++
	}
	return x, admitNew
}

func (c *replayCache) full(from identity.DeviceID, stranger bool) bool {
	return len(c.entries) >= replayPlaces || c.perSender[from] >= replayPerSender || stranger && c.strangers >= replayStrangers
}

// sweep forgets what has expired. It looks at every place, so it runs once a second at most: between two runs a full
// cache stays full.
func (c *replayCache) sweep(now time.Time) {
	if now.Sub(c.swept) < time.Second {
		return
	}
	c.swept = now
	for key, e := range c.entries {
		if !now.After(e.until) {
			continue
		}
		delete(c.entries, key)
		if c.perSender[key.from]--; c.perSender[key.from] == 0 {
			delete(c.perSender, key.from)
		}
		if e.stranger {
			c.strangers--
		}
	}
}
