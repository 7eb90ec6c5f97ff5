package signalling

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"traverse.internal/identity"
)

// Limits of notices. A device that comes up has one for each contact; one that moves about has some more.
const (
	NoticeLife = 30 * time.Second // of one: what a relay or a neighbour holds back longer is no news

	noticeEvery = 10 * time.Second // one from a contact is taken so often,
	noticeBurst = 3                // after so many at once
)

// errNotNoticed is of a notice that no route could carry.
var errNotNoticed = errors.New("signalling: no route carries notices")

// A Noticer is a Route that also carries notices: once, to where it knows the recipient to be. Notify returns nil when the notice was handed over, and
// at the latest when ctx ends.
type Noticer interface {
	Notify(ctx context.Context, out Outgoing) error
}

// noticed is what is kept of a contact's notices.
type noticed struct {
	newest time.Time // expiry of the last one that counted
	limit  *rate.Limiter
}

// Notify tells a contact that this device is here now, and how it is reached: by record, a presence record's body. It goes by all routes that carry
// notices together, and returns when one has handed it over, when none can, or when ctx ends. Nothing comes back: who has something to say to this device calls.
func (s *Signaler) Notify(ctx context.Context, peer identity.DeviceID, record []byte) error {
	if peer == s.cfg.Device.ID() {
		return ErrSelf
	}
	m := Message{Kind: Notice, To: peer, Expiry: time.Now().Add(NoticeLife), Body: record}
	rand.Read(m.ID[:]) // never fails: crypto/rand
	sealed, err := Seal(s.cfg.Device, m)
	if err != nil {
		return err
	}
	s.stats.notices.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.cfg.Routes))
	for i, r := range s.cfg.Routes {
		errs[i] = errNotNoticed
		if by, ok := r.(Noticer); ok {
			wg.Go(func() {
				if errs[i] = by.Notify(ctx, Outgoing{Kind: Notice, To: peer, Sealed: sealed}); errs[i] == nil {
					cancel()
				}
			})
		}
	}
	wg.Wait()
	if slices.Contains(errs, nil) {
		s.stats.noticesCarried.Add(1)
		return nil
	}
	return errors.Join(errs...)
}

// receiveNotice takes a verified notice: of a contact, newer than all before it, and no more of them than somebody may have to say. What is replayed is
// older than the last one, or the same.
func (s *Signaler) receiveNotice(now time.Time, a Arrival, m Message) {
	if !s.cfg.Allowed(m.From) || !slices.Contains(s.cfg.Peers(), m.From) {
		s.stats.refused.Add(1)
		return
	}
	taken, repeated := s.admitNotice(now, m)
	switch {
	case taken:
		s.stats.noticesTaken.Add(1)
	case repeated:
		s.stats.repeated.Add(1)
	default:
		s.stats.noticesLimited.Add(1)
	}
	if (taken || repeated) && a.Received != nil {
		a.Received() // for the sender to stop
	}
	if taken && s.cfg.Noticed != nil {
		s.cfg.Noticed(m.From, m.Body)
	}
}

func (s *Signaler) admitNotice(now time.Time, m Message) (taken, repeated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.noticed[m.From]
	if n == nil {
		s.forgetNoticedLocked()
		n = &noticed{limit: rate.NewLimiter(rate.Every(noticeEvery), noticeBurst)}
		s.noticed[m.From] = n
	}
	if !m.Expiry.After(n.newest) {
		return false, true
	}
	if !n.limit.AllowN(now, 1) {
		return false, false
	}
	n.newest = m.Expiry
	return true, false
}

// forgetNoticedLocked keeps the table to the contacts of now.
func (s *Signaler) forgetNoticedLocked() {
	peers := s.cfg.Peers()
	if len(s.noticed) < len(peers) {
		return
	}
	for id := range s.noticed {
		if !slices.Contains(peers, id) {
			delete(s.noticed, id)
		}
	}
}
