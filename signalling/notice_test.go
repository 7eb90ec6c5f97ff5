package signalling

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/identity"
)

// Notify has a memRoute carry notices, as often as it says.
func (r *memRoute) Notify(ctx context.Context, out Outgoing) error {
	if r.fail != nil {
		return r.fail
	}
	r.carry(ctx, out)
	return nil
}

// heard is what a device was told.
type heard struct {
	mu      sync.Mutex
	records []string
}

func (h *heard) take(_ identity.DeviceID, record []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, string(record))
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.records)
}

// TestNotices: a contact's notice is taken once, by whichever routes it comes; nothing is handled, nothing answered, and what is replayed later is not taken again.
func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at heard
		p := newPair(t, "near", "far")
		p.routeA[0].twice = true
		p.cfgB.Peers = func() []identity.DeviceID { return []identity.DeviceID{p.alice.ID()} }
		p.cfgB.Noticed = at.take
		p.start(t)
		synctest.Wait()
		if err := p.a.Notify(t.Context(), p.bob.ID(), []byte("here")); err != nil {
			t.Fatal(err)
		}
		first := p.routeA[0].sendings()[0]
		time.Sleep(time.Second)
		if err := p.a.Notify(t.Context(), p.bob.ID(), []byte("there")); err != nil {
			t.Fatal(err)
		}
		p.routeA[1].carry(t.Context(), first) // whoever carried it keeps it for later
		if got, want := at.all(), []string{"here", "there"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		if got := p.echo.handled(); got != 0 {
			t.Errorf("%d requests handled", got)
		}
		for _, r := range p.routeB {
			if n := len(r.sendings()); n != 0 {
				t.Errorf("route %s carried %d messages back, want silence", r.name, n)
			}
		}
		a, b := p.a.Stats(), p.b.Stats()
		if a.Notices != 2 || a.NoticesCarried != 2 || b.NoticesTaken != 2 || b.Repeated < 2 || b.NoticesLimited != 0 {
			t.Errorf("sender %+v, recipient %+v", a, b)
		}
		p.end(t)
	})
}

// TestNoticesThatMeetSilence: of who is no contact, though it may call; and of a contact that does nothing else.
func TestNoticesThatMeetSilence(t *testing.T) {
	t.Run("no contact", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var at heard
			p := newPair(t, "near")
			p.cfgB.Noticed = at.take
			p.start(t)
			synctest.Wait()
			if err := p.a.Notify(t.Context(), p.bob.ID(), []byte("here")); err != nil {
				t.Fatal(err)
			}
			if st := p.b.Stats(); len(at.all()) != 0 || st.Refused != 1 || len(p.b.noticed) != 0 {
				t.Errorf("told %q, %+v, %d remembered", at.all(), st, len(p.b.noticed))
			}
			p.end(t)
		})
	})
	t.Run("too many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var at heard
			p := newPair(t, "near")
			p.cfgB.Peers = func() []identity.DeviceID { return []identity.DeviceID{p.alice.ID()} }
			p.cfgB.Noticed = at.take
			p.start(t)
			synctest.Wait()
			const seconds = 41
			for range seconds {
				_ = p.a.Notify(t.Context(), p.bob.ID(), []byte("here"))
				time.Sleep(time.Second)
			}
			want := noticeBurst + int(seconds*time.Second/noticeEvery)
			if st := p.b.Stats(); len(at.all()) != want || st.NoticesTaken != uint64(want) || st.NoticesLimited != uint64(seconds-want) {
				t.Errorf("%d of %d taken, want %d; %+v", len(at.all()), seconds, want, st)
			}
			p.end(t)
		})
	})
}

// TestNoticesAreForgotten: what is kept is of contacts only, however many there were.
func TestNoticesAreForgotten(t *testing.T) {
	d := newDevice(t)
	contacts := []identity.DeviceID{}
	s, err := New(Config{Device: d, Allowed: func(identity.DeviceID) bool { return true }, Peers: func() []identity.DeviceID { return contacts }, Routes: []Route{new(memNet).route("near", d)}})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		one := newDevice(t)
		contacts = []identity.DeviceID{one.ID()}
		s.receiveNotice(time.Now(), Arrival{}, Message{Kind: Notice, From: one.ID(), Expiry: time.Now().Add(NoticeLife)})
	}
	if n := len(s.noticed); n > 2 {
		t.Errorf("%d are remembered of one contact", n)
	}
}
