package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// TestRandomCuts runs channels in both directions while links are cut at random bytes, vanish for one side only, or are
// replaced alive, with opens, ends and resets under way. Nothing may be lost, and nothing come twice.
func TestRandomCuts(t *testing.T) {
	rounds := 300
	if testing.Short() || raceEnabled {
		rounds = 60
	}
	var total mux.Stats
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) {
			c := newCutter(t, uint64(seed))
			c.run()
			total.Resumes += c.a.Stats().Resumes
			total.BytesResent += c.a.Stats().BytesResent + c.b.Stats().BytesResent
			total.Duplicates += c.a.Stats().Duplicates + c.b.Stats().Duplicates
			total.BytesIn += c.a.Stats().BytesIn + c.b.Stats().BytesIn
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if total.Resumes < uint64(rounds) || total.BytesResent == 0 || total.Duplicates == 0 {
		t.Errorf("%d resumes, %d bytes sent again, %d frames twice: the test does not test", total.Resumes, total.BytesResent, total.Duplicates)
	}
	t.Logf("%d rounds: %d links replaced, %d bytes, %d sent again, %d frames came twice", rounds, total.Resumes, total.BytesIn, total.BytesResent, total.Duplicates)
}

// cutter is one round.
type cutter struct {
	t      *testing.T
	seed   uint64
	r      *rand.Rand // of the goroutine that cuts
	a, b   *mux.Session
	la, lb *side // carry the session, or did
	links  int

	work sync.WaitGroup
	done chan struct{} // closed when the work is
}

func newCutter(t *testing.T, seed uint64) *cutter {
	c := &cutter{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 0)), done: make(chan struct{})}
	c.la, c.lb = wire(c.size())
	c.a, c.b = sessions(t, c.la, c.lb, mux.Config{}, mux.Config{})
	synctest.Wait() // for both HELLOs: before, nothing can be resumed
	return c
}

// size is a link's buffer, small ones as often as large ones.
func (c *cutter) size() int { return 1 << (6 + c.r.IntN(11)) }

func (c *cutter) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i, s := range []*mux.Session{c.a, c.b} {
		go c.acceptLoop(ctx, s, rand.New(rand.NewPCG(c.seed, 1+uint64(i))))
	}
	for i := range 3 + c.r.IntN(6) {
		s := c.a
		if c.r.IntN(2) == 0 {
			s = c.b
		}
		r := rand.New(rand.NewPCG(c.seed, 100+uint64(i)))
		c.work.Go(func() { c.openLoop(s, r, i) })
	}
	go func() {
		c.work.Wait()
		close(c.done)
	}()
	for range 1 + c.r.IntN(6) {
		if !c.breakLink() {
			break
		}
		c.relink(false)
	}
	c.relink(true)
	<-c.done
	c.a.Close()
	c.b.Close()
}

// breakLink waits for some bytes or some time, then cuts the link, makes it vanish for one side, or leaves it as it is.
// It reports false when the work is done.
func (c *cutter) breakLink() bool {
	end := c.la
	if c.r.IntN(2) == 0 {
		end = c.lb
	}
	act := end.cut
	switch c.r.IntN(4) {
	case 0:
		act = end.vanish
	case 1:
		act = func() {}
	}
	hit := make(chan struct{})
	end.out.cutAfter(c.bytes(), func() {
		act()
		close(hit)
	})
	select {
	case <-c.done:
		return false
	case <-hit:
	case <-time.After(time.Duration(c.r.IntN(1000)) * time.Millisecond):
		act()
	}
	return true
}

// bytes is a number of bytes, of each order of magnitude as often.
func (c *cutter) bytes() int { return c.r.IntN(1 << c.r.IntN(20)) }

// relink attaches new links until one holds, which is not the same as lasting.
func (c *cutter) relink(lasting bool) {
	for {
		c.links++
		la, lb := wire(c.size())
		if !lasting && c.r.IntN(3) == 0 { // this one does not live long either
			end := la
			if c.r.IntN(2) == 0 {
				end = lb
			}
			end.out.cutAfter(c.r.IntN(150), end.cut)
		}
		if c.r.IntN(2) == 0 { // the old link may go on meanwhile
			for _, h := range []*half{la.out, lb.out} {
				h.hold(true)
				time.AfterFunc(time.Duration(c.r.IntN(100))*time.Millisecond, func() { h.hold(false) })
			}
		}
		var err error
		if c.r.IntN(2) == 0 {
			err = attach(c.t, c.a, c.b, la, lb, c.links)
		} else {
			err = attach(c.t, c.b, c.a, lb, la, c.links)
		}
		if err == nil {
			c.la, c.lb = la, lb
			return
		}
		if c.links > 1000 {
			c.t.Errorf("no link holds: %v", err)
			return
		}
		la.cut()
	}
}

// openLoop opens channels one after the other and works on them.
func (c *cutter) openLoop(s *mux.Session, r *rand.Rand, i int) {
	for k := range 1 + r.IntN(4) {
		fate := [...]string{"send", "send", "send", "reset", "decline", "hurry"}[r.IntN(6)]
		name := fmt.Sprintf("%s %d %d", fate, i, k)
		ctx := context.Background()
		if fate == "hurry" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Millisecond)
			defer cancel()
		}
		ch, err := s.Open(ctx, name)
		var declined *mux.DeclinedError
		switch {
		case fate == "decline" && errors.As(err, &declined) && declined.Reason == "no "+name:
		case fate == "hurry" && errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil || fate == "decline":
			c.t.Errorf("open %q: %v", name, err)
		default:
			c.useChannel(ch, r, "from opener", "from accepter")
		}
	}
}

func (c *cutter) acceptLoop(ctx context.Context, s *mux.Session, r *rand.Rand) {
	for {
		req, err := s.Accept(ctx)
		if err != nil {
			return
		}
		name := req.Name()
		if name[:2] == "de" {
			err = req.Decline("no " + name)
		} else {
			var ch *mux.Channel
			if ch, err = req.Accept(); err == nil {
				r := rand.New(rand.NewPCG(r.Uint64(), 0))
				c.work.Go(func() { c.useChannel(ch, r, "from accepter", "from opener") })
			}
		}
		if err != nil && !(name[:2] == "hu" && errors.Is(err, mux.ErrWithdrawn)) {
			c.t.Errorf("answer %q: %v", name, err)
		}
	}
}

// useChannel sends its stream and checks the peer's.
func (c *cutter) useChannel(ch *mux.Channel, r *rand.Rand, out, in string) {
	mayFail := ch.Name()[:1] != "s"
	resetAfter := -1
	if ch.Name()[:1] == "r" && r.IntN(2) == 0 {
		resetAfter = r.IntN(200_000)
	}
	ok := func(err error) bool {
		var reset *mux.ResetError
		return err == nil || mayFail && errors.As(err, &reset)
	}
	var both sync.WaitGroup
	both.Go(func() {
		if err := send(ch, stream(ch.Name()+out), r, resetAfter); !ok(err) {
			c.t.Errorf("%q: write %s: %v", ch.Name(), out, err)
		}
	})
	if err := check(ch, stream(ch.Name()+in), rand.New(rand.NewPCG(c.seed, 3))); !ok(err) {
		c.t.Errorf("%q: read %s: %v", ch.Name(), in, err)
	}
	both.Wait()
	ch.Close()
}

// stream is what is sent under a name: bytes that depend on it, 0 to 512 KiB of them, of each order of magnitude as
// often.
func stream(name string) []byte {
	var seed [32]byte
	copy(seed[:], name)
	src := rand.NewChaCha8(seed)
	b := make([]byte, rand.New(src).IntN(1<<rand.New(src).IntN(19)))
	_, _ = src.Read(b)
	return b
}

// send writes b in pieces of all sizes and ends the direction, or resets the channel after some bytes.
func send(ch *mux.Channel, b []byte, r *rand.Rand, resetAfter int) error {
	sent := 0
	for sent < len(b) {
		n := min(len(b)-sent, 1+r.IntN(1<<r.IntN(18)))
		k, err := ch.Write(b[sent : sent+n])
		sent += k
		if err != nil {
			return err
		}
		if resetAfter >= 0 && sent >= resetAfter {
			return ch.Reset(uint16(framing.CodeApplication), "enough")
		}
	}
	return ch.CloseWrite()
}

// check reads to the end and compares. Behind an error what came must be a beginning of want.
func check(ch *mux.Channel, want []byte, r *rand.Rand) error {
	buf := make([]byte, 1+r.IntN(1<<r.IntN(18)))
	got := 0
	for {
		n, err := ch.Read(buf)
		if got+n > len(want) || !bytes.Equal(buf[:n], want[got:got+n]) {
			return fmt.Errorf("wrong bytes between %d and %d of %d", got, got+n, len(want))
		}
		got += n
		if err == io.EOF {
			if got != len(want) {
				return fmt.Errorf("end behind %d bytes, want %d", got, len(want))
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}
