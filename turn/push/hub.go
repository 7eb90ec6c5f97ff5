package push

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/core/pushwire"
)

// Limits of a Hub. Zero means the default.
type Limits struct {
	Registrations int // devices that are connected; default 4,096, of the 12,000 connections that a server has
	PerUser       int // of one user's password; default 64. A device that shows its own certificate has one
	Mailboxes     int // of all devices; default 200,000: 4,096 devices with some 50 contacts. TestMemory says what they take
	PerDevice     int // mailboxes of one device; default 2,048: 1,024 contacts at the change of the hour. More are not taken
}

func (l Limits) withDefaults() Limits {
	def := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	def(&l.Registrations, 4096)
	def(&l.PerUser, 64)
	def(&l.Mailboxes, 200_000)
	def(&l.PerDevice, 2048)
	return l
}

// Rates, each with the burst that it may come in. A call is one hand-in, and two or three more when nobody answers.
var (
	sourceRate  = rate{10, 50}  // hand-ins of an IPv4 /24 or IPv6 /56 whose device is not registered
	deviceRate  = rate{10, 50}  // hand-ins over a registered connection
	mailboxRate = rate{2, 10}   // pushes of one mailbox, that is of one contact: each costs its device 0.3 ms
	pushRate    = rate{20, 60}  // pushes to one device
	frameRate   = rate{50, 200} // frames of one connection; what is above ends it
	enterRate   = rate{10, 100} // TLS handshakes at TCP listeners of one /24 or /56
)

const (
	maxPending  = 256              // answers that one device may owe; 56 bytes each
	pendingLife = 60 * time.Second // of a way back: a caller waits 30 s
	sourceSlots = 4096             // buckets of sources, 24 bytes each; two that meet in one share it
)

// device is who is registered: a user and one of its processes.
type device struct {
	account  string
	instance pushwire.Instance
}

// maxOwners is how many connections may have one mailbox: processes of one device, or its connection of now and the dead one of before.
const maxOwners = 4

// box is a mailbox. Several connections may have listed it: the last one gets what is handed in, and when that ends the one before.
type box struct {
	owners []*conn // at least one, the last to list it at the end
	limit  bucket
}

func (b *box) owner() *conn { return b.owners[len(b.owners)-1] }

// Hub is the table of who is connected. Safe for concurrent use.
type Hub struct {
	limits Limits

	mu       sync.Mutex // guards the fields below, and what conn says
	callers  *sources
	arrivals *sources
	devices  map[device]*conn
	users    map[string]int
	boxes    map[pushwire.Token]*box
	owned    int // owners of all boxes: what Limits.Mailboxes bounds

	stats stats
}

// New makes a Hub.
func New(l Limits) *Hub {
	return &Hub{
		limits: l.withDefaults(), callers: newSources(), arrivals: newSources(),
		devices: map[device]*conn{}, users: map[string]int{}, boxes: map[pushwire.Token]*box{},
	}
}

// conn is a connection as the table knows it. Its fields are guarded by the Hub's mu.
type conn struct {
	source netip.Addr
	out    interface {
		send(frame []byte) bool // never blocks; false: there is no room
		close()                 // never blocks
	}

	registered bool
	who        device
	boxes      []pushwire.Token // those of which it is an owner
	coming     []pushwire.Token // of a list that is not complete
	asks       bucket
	pushes     bucket
	pending    map[pushwire.Tag]pending
}

// pending is the way back of a request that was pushed.
type pending struct {
	to    *conn
	tag   pushwire.Tag
	until time.Time
}

// register takes a device in. One that is registered already, as the same process, is replaced: its connection may be dead, and this one
// is not.
func (h *Hub) register(c *conn, account string, instance pushwire.Instance) pushwire.Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := device{account, instance}
	if c.registered {
		return pushwire.Refused // once is enough
	}
	if old := h.devices[who]; old != nil {
		h.forgetLocked(old)
		old.out.close()
		h.stats.replaced.Add(1)
	}
	if len(h.devices) >= h.limits.Registrations || h.users[account] >= h.limits.PerUser {
		return pushwire.Full
	}
	c.registered, c.who = true, who
	h.devices[who] = c
	h.users[account]++
	return pushwire.Accepted
}

// mailboxes takes a part of the list of a device's mailboxes; with its last part the list replaces the one before.
func (h *Hub) mailboxes(now time.Time, c *conn, tokens []byte, more bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.registered {
		return false
	}
	for ; len(tokens) > 0 && len(c.coming) < h.limits.PerDevice; tokens = tokens[len(pushwire.Token{}):] {
		c.coming = append(c.coming, pushwire.Token(tokens[:len(pushwire.Token{})]))
	}
	if more {
		return true
	}
	list := c.coming
	c.coming = nil
	kept := make(map[pushwire.Token]bool, len(list))
	for _, t := range list {
		kept[t] = true
	}
	for _, t := range c.boxes {
		if !kept[t] {
			h.dropBoxLocked(c, t)
		}
	}
	c.boxes = list[:0]
	for t := range kept {
		if h.ownLocked(now, c, t) {
			c.boxes = append(c.boxes, t)
		}
	}
	return true
}

// ownLocked makes a connection the owner of a mailbox that is asked first: a device may be back before its old connection is found dead.
func (h *Hub) ownLocked(now time.Time, c *conn, t pushwire.Token) bool {
	b := h.boxes[t]
	if b != nil && slices.Contains(b.owners, c) {
		return true // it has said so before: no news about who is alive
	}
	if h.owned >= h.limits.Mailboxes {
		return false
	}
	if b == nil {
		b = &box{limit: bucket{at: now}}
		h.boxes[t] = b
	} else if len(b.owners) == maxOwners {
		b.owners = slices.Delete(b.owners, 0, 1)
		h.owned--
	}
	b.owners = append(b.owners, c)
	h.owned++
	return true
}

func (h *Hub) dropBoxLocked(c *conn, t pushwire.Token) {
	b := h.boxes[t]
	if b == nil {
		return
	}
	i := slices.Index(b.owners, c)
	if i < 0 {
		return // others pushed it out
	}
	b.owners = slices.Delete(b.owners, i, i+1)
	h.owned--
	if len(b.owners) == 0 {
		delete(h.boxes, t)
	}
}

// handIn pushes a sealed request to who has the mailbox.
func (h *Hub) handIn(now time.Time, from *conn, f pushwire.Frame) pushwire.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from.registered && !from.asks.take(deviceRate, now) || !from.registered && !h.callers.take(sourceRate, now, from.source) {
		h.stats.limited.Add(1)
		return pushwire.Busy
	}
	b := h.boxes[f.Token]
	if b == nil {
		h.stats.notHere.Add(1)
		return pushwire.NotHere
	}
	to := b.owner()
	if !b.limit.take(mailboxRate, now) || !to.pushes.take(pushRate, now) || !to.roomLocked(now) {
		h.stats.limited.Add(1)
		return pushwire.Busy
	}
	var tag pushwire.Tag
	_, _ = rand.Read(tag[:]) // never fails since Go 1.24
	if !to.out.send(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Push, Tag: tag, Sealed: f.Sealed})) {
		h.stats.slow.Add(1)
		return pushwire.Busy
	}
	to.pending[tag] = pending{from, f.Tag, now.Add(pendingLife)}
	h.stats.pushed.Add(1)
	return pushwire.Pushed
}

// roomLocked reports whether there is room for another way back.
func (c *conn) roomLocked(now time.Time) bool {
	if c.pending == nil {
		c.pending = map[pushwire.Tag]pending{}
	}
	if len(c.pending) < maxPending {
		return true
	}
	for tag, p := range c.pending {
		if now.After(p.until) {
			delete(c.pending, tag)
		}
	}
	return len(c.pending) < maxPending
}

// answer hands a device's answer to who asked, once.
func (h *Hub) answer(now time.Time, from *conn, f pushwire.Frame) {
	h.mu.Lock()
	p, ok := from.pending[f.Tag]
	delete(from.pending, f.Tag)
	h.mu.Unlock()
	if !ok || now.After(p.until) {
		h.stats.unasked.Add(1)
		return
	}
	if p.to.out.send(pushwire.Append(nil, pushwire.Frame{Kind: pushwire.Answer, Tag: p.tag, Sealed: f.Sealed})) {
		h.stats.answers.Add(1)
	} else {
		h.stats.unasked.Add(1) // gone meanwhile
	}
}

// leave forgets a connection that has ended.
func (h *Hub) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetLocked(c)
}

func (h *Hub) forgetLocked(c *conn) {
	if !c.registered || h.devices[c.who] != c {
		return
	}
	delete(h.devices, c.who)
	if h.users[c.who.account]--; h.users[c.who.account] == 0 {
		delete(h.users, c.who.account)
	}
	for _, t := range c.boxes {
		h.dropBoxLocked(c, t)
	}
	c.boxes, c.coming, c.pending, c.registered = nil, nil, nil, false
}

// Keep ends the registrations of accounts that are no longer users.
func (h *Hub) Keep(user func(account string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for who, c := range h.devices {
		if !user(who.account) {
			h.forgetLocked(c)
			c.out.close()
		}
	}
}

// stats are the Hub's counters.
type stats struct {
	pushed, notHere, limited, slow, answers, unasked, refused, replaced, bad atomic.Uint64
}

// Stats is a copy of the counters since New, and of what there is now.
type Stats struct {
	Registrations, Mailboxes int

	Pushed   uint64 // requests handed to their device
	NotHere  uint64 // requests for a mailbox that nobody has
	Limited  uint64 // requests refused for a limit
	Slow     uint64 // requests refused because their device does not read
	Answers  uint64 // answers handed back
	Unasked  uint64 // answers that nobody waits for
	Refused  uint64 // registrations refused: no user, or no room
	Replaced uint64 // connections ended because their device made another
	Bad      uint64 // connections ended for what they sent
}

// Stats returns the counters.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	devices, boxes := len(h.devices), len(h.boxes)
	h.mu.Unlock()
	c := &h.stats
	return Stats{
		Registrations: devices, Mailboxes: boxes,
		Pushed: c.pushed.Load(), NotHere: c.notHere.Load(), Limited: c.limited.Load(), Slow: c.slow.Load(), Answers: c.answers.Load(),
		Unasked: c.unasked.Load(), Refused: c.refused.Load(), Replaced: c.replaced.Load(), Bad: c.bad.Load(),
	}
}
