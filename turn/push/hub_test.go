package push

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"traverse.internal/core/pushwire"
)

// begin is when the clock of these tests begins.
var begin = time.Unix(1_800_000_000, 0)

// sink takes what a connection would be sent.
type sink struct {
	frames []pushwire.Frame
	full   bool
	closed bool
}

func (s *sink) send(b []byte) bool {
	if s.full || s.closed {
		return false
	}
	f, err := pushwire.NewReader(bytes.NewReader(b)).Next()
	if err != nil {
		panic(err)
	}
	s.frames = append(s.frames, f)
	return true
}

func (s *sink) close() { s.closed = true }

func newConn(source string) (*conn, *sink) {
	s := &sink{}
	return &conn{source: netip.MustParseAddr(source), out: s}, s
}

func tokens(numbers ...int) (out []byte) {
	for _, n := range numbers {
		t := token(n)
		out = append(out, t[:]...)
	}
	return out
}

func token(n int) (t pushwire.Token) {
	copy(t[:], fmt.Sprintf("%016d", n))
	return t
}

// registered is a device with mailboxes.
func registered(t *testing.T, h *Hub, account string, boxes ...int) (*conn, *sink) {
	t.Helper()
	c, s := newConn("192.0.2.1")
	if v := h.register(c, account, pushwire.Instance{1}); v != pushwire.Accepted {
		t.Fatalf("%s: verdict %d", account, v)
	}
	if !h.mailboxes(begin, c, tokens(boxes...), false) {
		t.Fatal("mailboxes refused")
	}
	return c, s
}

func handIn(n int, tag byte) pushwire.Frame {
	return pushwire.Frame{Kind: pushwire.HandIn, Token: token(n), Tag: pushwire.Tag{tag}, Sealed: []byte("sealed")}
}

// TestHandIn: a request goes to who has the mailbox and its answer to who asked, once; nobody else hears of it.
func TestHandIn(t *testing.T) {
	h := New(Limits{})
	_, annas := registered(t, h, "anna", 1, 2)
	bert, berts := registered(t, h, "bert", 3)
	caller, callers := newConn("198.51.100.1")
	if r := h.handIn(begin, caller, handIn(3, 7)); r != pushwire.Pushed {
		t.Fatalf("result %d", r)
	}
	if r := h.handIn(begin, caller, handIn(4, 8)); r != pushwire.NotHere {
		t.Errorf("a mailbox that nobody has: %d", r)
	}
	if len(annas.frames) != 0 || len(berts.frames) != 1 || string(berts.frames[0].Sealed) != "sealed" || berts.frames[0].Tag == (pushwire.Tag{7}) {
		t.Fatalf("anna has %v, bert %v", annas.frames, berts.frames)
	}
	answer := pushwire.Frame{Kind: pushwire.Answer, Tag: berts.frames[0].Tag, Sealed: []byte("answer")}
	anna, _ := registered(t, h, "another", 9)
	h.answer(begin, anna, answer) // who was not asked cannot answer
	h.answer(begin, bert, answer)
	h.answer(begin, bert, answer)
	if len(callers.frames) != 1 || callers.frames[0].Tag != (pushwire.Tag{7}) || string(callers.frames[0].Sealed) != "answer" {
		t.Errorf("the caller has %v", callers.frames)
	}
	if st := h.Stats(); st.Pushed != 1 || st.NotHere != 1 || st.Answers != 1 || st.Unasked != 2 {
		t.Errorf("%+v", st)
	}
	h.handIn(begin, caller, handIn(3, 9))
	h.answer(begin.Add(pendingLife+time.Second), bert, pushwire.Frame{Tag: berts.frames[1].Tag, Sealed: []byte("late")})
	if len(callers.frames) != 1 {
		t.Error("an answer after its time was handed back")
	}
	h.leave(bert)
	if r := h.handIn(begin, caller, handIn(3, 10)); r != pushwire.NotHere {
		t.Errorf("a device that has left: %d", r)
	}
}

// TestNewestWins: a device that comes back has its mailboxes, whether its old connection is dead or not; and the old one's end takes
// nothing from it.
func TestNewestWins(t *testing.T) {
	h := New(Limits{})
	old, olds := registered(t, h, "anna", 1, 2)
	fresh, freshs := registered(t, h, "anna", 2, 3)
	if !olds.closed || old.registered {
		t.Error("the old connection is still there")
	}
	h.leave(old)
	caller, _ := newConn("198.51.100.1")
	for n, want := range map[int]pushwire.Result{1: pushwire.NotHere, 2: pushwire.Pushed, 3: pushwire.Pushed} {
		if r := h.handIn(begin, caller, handIn(n, 1)); r != want {
			t.Errorf("mailbox %d: %d, want %d", n, r, want)
		}
	}
	if len(freshs.frames) != 2 {
		t.Errorf("the new connection has %v", freshs.frames)
	}
	if h.mailboxes(begin, old, tokens(1), false) {
		t.Error("a connection that was replaced may name mailboxes")
	}
	h.mailboxes(begin, fresh, tokens(3), false)
	h.mailboxes(begin, fresh, nil, false)
	if st := h.Stats(); st.Mailboxes != 0 || st.Registrations != 1 {
		t.Errorf("%+v", st)
	}
}

// TestMailboxGoesBack: what a newer connection took over is the older one's again when the newer one ends, or no longer lists it, as long as that
// lives; and no more than maxOwners wait for it.
func TestMailboxGoesBack(t *testing.T) {
	h := New(Limits{})
	open := func(i byte, boxes ...int) (*conn, *sink) {
		c, s := newConn("192.0.2.1")
		if h.register(c, "anna", pushwire.Instance{i}) != pushwire.Accepted || !h.mailboxes(begin, c, tokens(boxes...), false) {
			t.Fatal("refused")
		}
		return c, s
	}
	caller, _ := newConn("198.51.100.1")
	got := func(n int, want *sink) {
		t.Helper()
		before := len(want.frames)
		result := h.handIn(begin, caller, handIn(n, 1))
		if result != pushwire.Pushed || len(want.frames) != before+1 {
			t.Errorf("mailbox %d: result %d, and it was not who should have it", n, result)
		}
	}
	old, olds := open(1, 1, 2)
	fresh, freshs := open(2, 1, 2)
	got(1, freshs)
	h.mailboxes(begin, old, tokens(1, 2, 3), false) // the hour changed: no sign that the newer one is gone
	got(1, freshs)
	h.mailboxes(begin, fresh, tokens(2), false)
	got(1, olds)
	got(2, freshs)
	h.leave(fresh)
	got(2, olds)
	h.leave(old)
	if r := h.handIn(begin, caller, handIn(2, 1)); r != pushwire.NotHere {
		t.Errorf("nobody is left: %d", r)
	}
	var all []*conn
	for i := range byte(20) {
		c, _ := open(i, 7)
		all = append(all, c)
		if n := len(h.boxes[token(7)].owners); n > maxOwners {
			t.Fatalf("%d owners", n)
		}
	}
	for _, c := range all {
		h.leave(c)
	}
	if len(h.boxes) != 0 || h.owned != 0 {
		t.Errorf("left behind: %d mailboxes, %d owners", len(h.boxes), h.owned)
	}
}

// TestMemory: what a mailbox takes, as docs/protocol/push.md section 4 says.
func TestMemory(t *testing.T) {
	const devices, each, maxMailboxBytes = 200, 1000, 160
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	h := New(Limits{})
	numbers := make([]int, each)
	before := heap()
	var all []*conn
	for d := range devices {
		for i := range numbers {
			numbers[i] = d*each + i
		}
		c, _ := registered(t, h, fmt.Sprint("user ", d), numbers...)
		all = append(all, c)
	}
	grown := (heap() - before) / (devices * each)
	t.Logf("%d bytes a mailbox", grown)
	if h.Stats().Mailboxes != devices*each || grown > maxMailboxBytes {
		t.Errorf("%d mailboxes of %d bytes, want at most %d bytes", h.Stats().Mailboxes, grown, maxMailboxBytes)
	}
	runtime.KeepAlive(all)
}

// TestLists: a list that comes in parts counts with its last one.
func TestLists(t *testing.T) {
	h := New(Limits{PerDevice: 5, Mailboxes: 6})
	c, _ := registered(t, h, "anna", 1)
	h.mailboxes(begin, c, tokens(2, 3), true)
	if n := h.Stats().Mailboxes; n != 1 {
		t.Errorf("%d mailboxes before the list's end", n)
	}
	h.mailboxes(begin, c, tokens(4, 4, 5, 6, 7), false)
	if n := h.Stats().Mailboxes; n != 4 { // five of a device were taken, two of them the same
		t.Errorf("%d mailboxes of one device that may have 5", n)
	}
	d, _ := registered(t, h, "bert", 10, 11, 12, 13)
	if n := h.Stats().Mailboxes; n != 6 {
		t.Errorf("%d mailboxes where there may be 6", n)
	}
	h.leave(c)
	h.leave(d)
	if st := h.Stats(); st.Mailboxes != 0 || st.Registrations != 0 || len(h.users) != 0 {
		t.Errorf("left behind: %+v", st)
	}
}

// TestRates: a caller, an address, a mailbox and a device each have their limit, and get it back with time.
func TestRates(t *testing.T) {
	h := New(Limits{})
	boxes := make([]int, 200)
	for i := range boxes {
		boxes[i] = i
	}
	_, s := registered(t, h, "anna", boxes...)
	now := begin
	count := func(from *conn, of func(i int) int) (pushed int) {
		for i := range 1000 {
			if h.handIn(now, from, handIn(of(i), 1)) == pushwire.Pushed {
				pushed++
			}
		}
		return pushed
	}
	one, _ := newConn("198.51.100.1")
	near, _ := newConn("198.51.100.2")
	far, _ := newConn("203.0.113.1")
	if n := count(one, func(int) int { return 0 }); n != int(mailboxRate.burst) {
		t.Errorf("%d pushes of one mailbox at once, want %v", n, mailboxRate.burst)
	}
	if n := count(near, func(i int) int { return i % 200 }); n != 0 {
		t.Errorf("%d pushes from the neighbourhood of one that has used its share", n)
	}
	if n := count(far, func(i int) int { return 1 + i%199 }); n != int(min(sourceRate.burst, pushRate.burst-mailboxRate.burst)) {
		t.Errorf("%d pushes from elsewhere", n)
	}
	now = now.Add(10 * time.Second)
	if n := count(one, func(int) int { return 0 }); n != int(mailboxRate.burst) {
		t.Errorf("%d pushes of one mailbox ten seconds later", n)
	}
	s.full = true
	now = now.Add(10 * time.Second)
	if r := h.handIn(now, one, handIn(5, 1)); r != pushwire.Busy || h.Stats().Slow != 1 {
		t.Errorf("a device that does not read: %d", r)
	}
	if len(s.frames) > maxPending {
		t.Errorf("%d answers owed", len(s.frames))
	}
}

// TestPendingIsBounded: a device that never answers owes a bounded number of answers, and a caller's requests still come.
func TestPendingIsBounded(t *testing.T) {
	h := New(Limits{})
	c, _ := registered(t, h, "anna", 1)
	caller, _ := newConn("198.51.100.1")
	now := begin
	for range 10_000 {
		now = now.Add(time.Second)
		if r := h.handIn(now, caller, handIn(1, 1)); r != pushwire.Pushed {
			t.Fatalf("result %d", r)
		}
		if len(c.pending) > maxPending {
			t.Fatalf("%d answers owed", len(c.pending))
		}
	}
}

// TestRegistrationFlood: 100,000 registrations, of users and of their processes, leave no more than the limits say, and all of it can go.
func TestRegistrationFlood(t *testing.T) {
	h := New(Limits{Registrations: 1000, PerUser: 10})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var taken []*conn
	for i := range 100_000 {
		c, _ := newConn("192.0.2.1")
		instance := pushwire.Instance{byte(i), byte(i >> 8), byte(i >> 16)}
		if h.register(c, fmt.Sprint("user ", i%500), instance) == pushwire.Accepted {
			taken = append(taken, c)
		}
		h.callers.take(sourceRate, begin, netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}))
	}
	if st := h.Stats(); st.Registrations != 1000 || len(taken) != 1000 {
		t.Errorf("%d registrations", st.Registrations)
	}
	for _, n := range h.users {
		if n > 10 {
			t.Errorf("one user has %d", n)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	h.Keep(func(string) bool { return false })
	if st := h.Stats(); st.Registrations != 0 || len(h.users) != 0 {
		t.Errorf("left behind: %+v", st)
	}
	runtime.KeepAlive(taken)
}
