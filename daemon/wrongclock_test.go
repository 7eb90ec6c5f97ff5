package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"traverse.internal/config"
	"traverse.internal/signalling"
)

// TestWrongClock: a contact's messages as its clock, a day ahead or behind, makes them: a request, a notice. They are refused and counted; netcheck and doctor say what is wrong and what mends it. What
// holds no dates goes on: the two connect by messages that are right, and their certificates' dates mean nothing.
func TestWrongClock(t *testing.T) {
	here := startNode(t, "here", nil, nil)
	there := startNode(t, "there", here, nil)
	join(t, here, there, false)
	if n := here.Netcheck(t.Context()); n.Clock.Refused != 0 || tells(n.Warnings, "clock") {
		t.Fatalf("before anything came: %d refused, %v", n.Clock.Refused, n.Warnings)
	}
	before := here.signaler.Stats()
	direct := there.courier.Routes()[0]
	refused := uint64(0)
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		for _, kind := range []signalling.Kind{signalling.Request, signalling.Notice} {
			sealed, err := signalling.Seal(there.device, signalling.Message{Kind: kind, To: here.self, ID: signalling.RequestID{byte(refused + 1)}, Expiry: time.Now().Add(off + signalling.NoticeLife)})
			if err != nil {
				t.Fatal(err)
			}
			refused++
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = direct.Send(ctx, signalling.Outgoing{Kind: signalling.Request, To: here.self, Sealed: sealed})
			}()
			until(t, "a refusal", func() bool { return here.signaler.Stats().Expired >= before.Expired+refused })
			cancel()
			<-ended
		}
	}
	n := here.Netcheck(t.Context())
	if n.Clock.Refused < refused || !tells(n.Warnings, "clock") {
		t.Errorf("netcheck: %d refused, %v", n.Clock.Refused, n.Warnings)
	}
	conf, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := false
	for _, f := range Examine(t.Context(), here.cfg.Home, conf).Findings {
		said = said || f.Check == "clock" && f.Level == LevelWarning && strings.Contains(f.What, "refused for their time") && strings.Contains(f.Fix, "timedatectl")
	}
	if !said {
		t.Error("doctor does not say that a clock is wrong, and what mends it")
	}
	here.manager.Disconnect(there.self)
	ch, _, err := there.manager.Connect(t.Context(), here.self, pingChannel)
	if err != nil {
		t.Fatal(err)
	}
	_ = ch.Close()
}

// tells reports whether a warning is about something.
func tells(all []NetcheckWarning, what string) bool {
	for _, w := range all {
		if strings.Contains(w.What, what) {
			return true
		}
	}
	return false
}
