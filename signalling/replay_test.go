package signalling

import (
	"encoding/binary"
	"testing"
	"time"

	"traverse.internal/identity"
)

func numberedID(n int) (id RequestID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func TestReplayCacheAdmitsAnIdOnceUntilItExpires(t *testing.T) {
	alice, bob := identity.DeviceID{1}, identity.DeviceID{2}
	start := time.Unix(1_800_000_000, 0)
	c := newReplayCache()
	for _, step := range []struct {
		name  string
		after time.Duration
		from  identity.DeviceID
		id    int
		want  verdict
	}{
		{"first", 0, alice, 1, admitNew},
		{"again", 0, alice, 1, admitSeen},
		{"again, later", time.Minute, alice, 1, admitSeen},
		{"the same id of another sender", time.Minute, bob, 1, admitNew},
		{"another id", time.Minute, alice, 2, admitNew},
	} {
		now := start.Add(step.after)
		if _, got := c.admit(now, step.from, numberedID(step.id), now.Add(2*time.Minute), false); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
}

func TestReplayCacheIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	until := now.Add(MaxLife + Skew)
	sender := func(n int) (id identity.DeviceID) {
		binary.BigEndian.PutUint32(id[:], uint32(n))
		return id
	}
	c := newReplayCache()
	admitted := func(now time.Time, from identity.DeviceID, id int, stranger bool) bool {
		_, v := c.admit(now, from, numberedID(id), until, stranger)
		return v == admitNew
	}

	for i := range replayPerSender {
		if !admitted(now, sender(0), i, true) {
			t.Fatalf("request %d of one sender was refused", i)
		}
	}
	if admitted(now, sender(0), replayPerSender, true) {
		t.Error("one sender may fill more places than its share")
	}
	for i := replayPerSender; i < replayStrangers; i++ {
		if !admitted(now, sender(i), i, true) {
			t.Fatalf("stranger %d was refused", i)
		}
	}
	if admitted(now, sender(replayStrangers), 1, true) {
		t.Error("strangers may fill more than their share")
	}
	if !admitted(now, sender(1_000_000), 1, false) {
		t.Error("a contact was refused while only strangers' places were full")
	}
	for i := replayStrangers + 1; i < replayPlaces; i++ {
		if !admitted(now, sender(2_000_000+i), i, false) {
			t.Fatalf("contact %d was refused", i)
		}
	}
	if admitted(now, sender(3_000_000), 1, false) {
		t.Error("the cache grew beyond its limit")
	}
	if got := len(c.entries); got != replayPlaces {
		t.Errorf("%d places taken, want %d", got, replayPlaces)
	}

	// Once the ids have expired there is room again, and nothing is left of the old senders.
	if !admitted(until.Add(time.Second), sender(4_000_000), 1, true) {
		t.Error("expired ids still take places")
	}
	if len(c.entries) != 1 || len(c.perSender) != 1 || c.strangers != 1 {
		t.Errorf("after expiry %d entries, %d senders, %d strangers; want 1 of each", len(c.entries), len(c.perSender), c.strangers)
	}
}
