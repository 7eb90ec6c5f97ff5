package signalling

import (
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/identity"
)

func TestRequestsThatMeetSilence(t *testing.T) {
	for _, c := range []struct {
		name    string
		setup   func(p *pair)
		handled int
		counted func(Stats) uint64
	}{
		{
			"a sender that is not allowed", func(p *pair) { p.cfgB.Allowed = func(identity.DeviceID) bool { return false } }, 0,
			func(s Stats) uint64 { return s.Refused },
		},
		{
			"a handler that declines", func(p *pair) { p.echo.err = errDeclined }, 1,
			func(s Stats) uint64 { return s.Declined },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, "near", "far")
				p.routeB[1].keeps = true
				c.setup(p)
				p.start(t)
				synctest.Wait()
				if _, err := p.a.Call(t.Context(), p.bob.ID(), nil); err == nil {
					t.Error("answered")
				}
				for _, r := range p.routeB {
					if n := len(r.sendings()); n != 0 {
						t.Errorf("route %s carried %d messages back, want silence", r.name, n)
					}
				}
				if got := p.echo.handled(); got != c.handled {
					t.Errorf("handled %d times, want %d", got, c.handled)
				}
				if c.counted(p.b.Stats()) == 0 {
					t.Errorf("not counted: %+v", p.b.Stats())
				}
				p.end(t)
			})
		})
	}
}

func TestTheSenderIsToldOfReceiptOnlyWhenAllowed(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, "near")
			p.cfgB.Allowed = func(identity.DeviceID) bool { return allowed }
			p.start(t)
			synctest.Wait()
			received := false
			p.routeB[0].sink(Arrival{
				Sealed:   mustSeal(t, p.alice, Message{Kind: Request, To: p.bob.ID(), Expiry: time.Now().Add(time.Minute)}),
				Received: func() { received = true },
			})
			if received != allowed {
				t.Errorf("told of receipt: %v, want %v", received, allowed)
			}
			p.end(t)
		})
	}
}

func TestAReplayIsMetWithTheFirstAnswerAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.start(t)
		synctest.Wait()
		sealed := mustSeal(t, p.alice, Message{Kind: Request, To: p.bob.ID(), ID: RequestID{1}, Expiry: time.Now().Add(MaxLife), Body: []byte("x")})
		var answers [][]byte
		var mu sync.Mutex
		arrival := Arrival{Sealed: sealed, Reply: func(_ context.Context, answer []byte) error {
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer)
			return nil
		}}
		for range 3 {
			p.routeB[0].sink(arrival)
			synctest.Wait()
		}
		if got := p.echo.handled(); got != 1 {
			t.Errorf("handled %d times, want once", got)
		}
		if len(answers) != 3 || string(answers[0]) != string(answers[1]) || string(answers[0]) != string(answers[2]) {
			t.Errorf("%d answers, want the same one three times", len(answers))
		}

		// As long as the message could be taken for valid, it is remembered; then it is expired.
		time.Sleep(MaxLife + Skew)
		p.routeB[0].sink(arrival)
		time.Sleep(time.Second)
		p.routeB[0].sink(arrival)
		synctest.Wait()
		if got := p.echo.handled(); got != 1 {
			t.Errorf("handled %d times after expiry, want once", got)
		}
		if s := p.b.Stats(); s.Repeated != 3 || s.Expired != 1 {
			t.Errorf("%d repeated, %d expired; want 3 and 1", s.Repeated, s.Expired)
		}
		p.end(t)
	})
}

func TestASecondRouteWhileHandlingGetsTheAnswerToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near", "far")
		p.echo.work = time.Second // longer than the stagger: the request arrives by both
		p.routeB[0].lose = 100    // and the first way back is broken
		p.start(t)
		synctest.Wait()
		if _, err := p.a.Call(t.Context(), p.bob.ID(), nil); err != nil {
			t.Error(err)
		}
		if got := p.echo.handled(); got != 1 {
			t.Errorf("handled %d times, want once", got)
		}
		p.end(t)
	})
}

func TestAnswersNobodyWaitsForAreIgnoredAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.cfgA.Timeout = 5 * time.Second
		p.start(t)
		synctest.Wait()
		carol := newDevice(t)
		deliver := func(from *identity.Device, m Message) {
			m.Kind, m.To, m.Expiry = Answer, p.alice.ID(), time.Now().Add(time.Minute)
			p.routeA[0].sink(Arrival{Sealed: mustSeal(t, from, m)})
		}
		deliver(p.bob, Message{ID: RequestID{1}}) // to no request
		if got := p.a.Stats().UnwantedAnswers; got != 1 {
			t.Errorf("%d unwanted answers, want 1", got)
		}

		// During a call: from somebody else, to other bytes, and after the right one a second time.
		p.routeA[0].lose = 100
		got := make(chan error, 1)
		go func() {
			answer, err := p.a.Call(t.Context(), p.bob.ID(), nil)
			if err == nil && string(answer) != "right" {
				t.Errorf("answer %q, want the right one", answer)
			}
			got <- err
		}()
		synctest.Wait()
		request := p.routeA[0].sendings()[0].Sealed
		m, err := Open(p.bob, request)
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256(request)
		deliver(carol, Message{ID: m.ID, RequestHash: hash, Body: []byte("somebody else's")})
		deliver(p.bob, Message{ID: m.ID, RequestHash: [32]byte{1}, Body: []byte("to another request")})
		right := Message{ID: m.ID, RequestHash: hash, Body: []byte("right")}
		deliver(p.bob, right)
		deliver(p.bob, right)
		if err := <-got; err != nil {
			t.Error(err)
		}
		deliver(p.bob, right) // and long after
		if got := p.a.Stats().UnwantedAnswers; got != 5 {
			t.Errorf("%d unwanted answers, want 5", got)
		}

		// After the time-out.
		go func() {
			_, err := p.a.Call(t.Context(), p.bob.ID(), nil)
			got <- err
		}()
		if err := <-got; err == nil {
			t.Error("answered by nobody")
		}
		late := p.routeA[0].sendings()[1].Sealed
		if m, err = Open(p.bob, late); err != nil {
			t.Fatal(err)
		}
		deliver(p.bob, Message{ID: m.ID, RequestHash: sha256.Sum256(late)})
		if got := p.a.Stats().UnwantedAnswers; got != 6 {
			t.Errorf("%d unwanted answers, want 6", got)
		}
		p.end(t)
	})
}

func TestOnlySoManyRequestsAreHandledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.echo.work = time.Minute
		p.start(t)
		synctest.Wait()
		var senders []*identity.Device // as many as it takes, each with all that it may have
		for range maxHandling/maxHandlingPerSender + 1 {
			senders = append(senders, newDevice(t))
		}
		request := func(n int) {
			m := Message{Kind: Request, To: p.bob.ID(), ID: numberedID(n), Expiry: time.Now().Add(MaxLife)}
			p.routeB[0].sink(Arrival{Sealed: mustSeal(t, senders[n/maxHandlingPerSender], m)})
		}
		for i := range maxHandling + 1 {
			request(i)
		}
		synctest.Wait()
		if got := p.echo.handled(); got != maxHandling {
			t.Errorf("%d handlers run, want %d", got, maxHandling)
		}
		if got := p.b.Stats().Busy; got != 1 {
			t.Errorf("%d counted as busy, want 1", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		request(maxHandling) // the one that was dropped, sent again
		synctest.Wait()
		if got := p.echo.handled(); got != maxHandling+1 {
			t.Errorf("the dropped request was not taken when it came again: %d handled", got)
		}
		p.end(t)
	})
}

// TestOneSenderLeavesHandlersToOthers: a contact that sends request after request, each under another id, cannot keep the others out.
func TestOneSenderLeavesHandlersToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.echo.work = time.Minute
		p.start(t)
		synctest.Wait()
		greedy, other := newDevice(t), newDevice(t)
		request := func(from *identity.Device, n int) {
			m := Message{Kind: Request, To: p.bob.ID(), ID: numberedID(n), Expiry: time.Now().Add(MaxLife)}
			p.routeB[0].sink(Arrival{Sealed: mustSeal(t, from, m)})
		}
		for i := range maxHandling {
			request(greedy, i)
		}
		request(other, 0)
		synctest.Wait()
		served := map[identity.DeviceID]int{}
		p.echo.mu.Lock()
		for _, from := range p.echo.froms {
			served[from]++
		}
		p.echo.mu.Unlock()
		if got := served[greedy.ID()]; got != maxHandlingPerSender {
			t.Errorf("%d handlers run for one sender, want %d", got, maxHandlingPerSender)
		}
		if served[other.ID()] != 1 {
			t.Error("another sender's request was dropped")
		}
		p.end(t)
	})
}

func TestWithoutServeRequestsAreDroppedAndAnswersStillCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.start(t)
		synctest.Wait()
		p.end(t)
		if _, err := p.a.Call(t.Context(), p.bob.ID(), nil); err == nil {
			t.Error("answered by a device that does not serve")
		}
		if got := p.b.Stats().NotServing; got != 1 {
			t.Errorf("%d counted as not serving, want 1", got)
		}

		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.b.Serve(ctx, p.echo.handle) })
		synctest.Wait()
		if _, err := p.a.Call(t.Context(), p.bob.ID(), nil); err != nil {
			t.Errorf("a caller that does not serve: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

func TestServeEndsItsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, "near")
		p.echo.work = time.Hour
		p.start(t)
		synctest.Wait()
		p.routeB[0].sink(Arrival{Sealed: mustSeal(t, p.alice, Message{Kind: Request, To: p.bob.ID(), Expiry: time.Now().Add(time.Minute)})})
		synctest.Wait()
		start := time.Now()
		p.end(t)
		if got := time.Since(start); got != 0 {
			t.Errorf("Serve took %v to end, want none", got)
		}
	})
}
