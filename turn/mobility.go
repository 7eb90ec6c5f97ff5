package turn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"time"

	"traverse.internal/core/stun"
	"traverse.internal/turn/alloc"
)

// ticketKept is how long the ticket before the present one is known, for a Refresh that is sent again: RFC 8016 §3.2.2.
const ticketKept = 30 * time.Second

// ticketID finds an allocation. It is as random as a nonce of the standard's tickets, and never on the wire in the clear.
type ticketID [12]byte

// ticket is what a client that can move proves itself with, besides its password. The shard's lock guards it; the id does
// not change.
//
// On the wire: 12 random bytes, then id and serial sealed by AES-256-GCM under a key of this server's process. No two
// tickets look alike, and nobody else can make one.
type ticket struct {
	id     ticketID
	serial uint32          // of the ticket that counts; grows with every move
	from   alloc.FiveTuple // where the last move led to
	at     time.Time       // and when
	next   *client         // there; nil: it has arrived
	lost   bool            // the client's connection has ended, and it has not come back yet
}

func newTicket() *ticket {
	t := new(ticket)
	_, _ = rand.Read(t.id[:]) // never fails since Go 1.24
	return t
}

// newSeal makes the key of a server's tickets.
func newSeal() cipher.AEAD {
	var key [32]byte
	_, _ = rand.Read(key[:])          // never fails since Go 1.24
	block, _ := aes.NewCipher(key[:]) // fails for other lengths only
	seal, _ := cipher.NewGCM(block)   // fails for other blocks only
	return seal
}

// client is the way back to who asks.
func (r *request) client() *client {
	return &client{stream: r.stream, listener: r.listener, addr: r.tuple.Client, from: r.arrived, secured: r.secured}
}

// addTicket adds the allocation's ticket, if it has any.
func (r *request) addTicket(b *stun.Builder, a *alloc.Allocation) {
	t := relayOf(a).ticket
	if t == nil {
		return
	}
	var room [12 + 12 + 4 + 16]byte
	_, _ = rand.Read(room[:12])
	r.shard.mu.Lock()
	plain := binary.BigEndian.AppendUint32(append([]byte(nil), t.id[:]...), t.serial)
	r.shard.mu.Unlock()
	b.Add(stun.AttrMobilityTicket, r.shard.server.seal.Seal(room[:12], room[:12], plain, nil))
}

// openTicket reads what addTicket wrote.
func (s *Server) openTicket(value []byte) (id ticketID, serial uint32, ok bool) {
	if len(value) != 12+12+4+16 {
		return id, 0, false
	}
	plain, err := s.seal.Open(nil, value[:12], value[12:], nil)
	if err != nil {
		return id, 0, false
	}
	return ticketID(plain), binary.BigEndian.Uint32(plain[12:]), true
}

// resume is a Refresh from another 5-tuple than the allocation's: RFC 8016 §3.2.2. The old one is served until data comes from
// the new.
func (r *request) resume(value []byte, seconds uint32, ends bool) []byte {
	sh := r.shard
	if !sh.server.config.Mobility {
		return r.fail(stun.CodeMobilityForbidden)
	}
	id, serial, ok := sh.server.openTicket(value)
	if !ok {
		return r.fail(stun.CodeBadRequest)
	}
	var lifetime time.Duration
	var left *client // by who moved elsewhere before it arrived
	sh.mu.Lock()
	a := sh.mobile[id]
	verdict := r.judge(a, serial)
	if verdict == alloc.OK && !ends {
		left = r.move(a, serial)
		lifetime = sh.table.Refresh(r.now, a, seconds)
	}
	sh.mu.Unlock()
	if verdict != alloc.OK {
		if verdict == alloc.WrongCredentials {
			sh.stats.fail(authOther)
		}
		return r.refuse(verdict)
	}
	if left != nil && !left.is(r.client()) {
		left.setAllocated(false)
	}
	if ends {
		sh.endMobile(id)
	} else {
		r.client().setAllocated(true)
	}
	b := r.begin(r.method.Success())
	b.AddUint32(stun.AttrLifetime, uint32(lifetime/time.Second))
	if !ends {
		r.addTicket(&b, a)
	}
	return r.finish(&b)
}

// judge expects the shard's lock.
func (r *request) judge(a *alloc.Allocation, serial uint32) alloc.Verdict {
	if a == nil {
		return alloc.Mismatch
	}
	t := relayOf(a).ticket
	if other := r.shard.table.Lookup(r.tuple); other != nil && other != a {
		return alloc.Mismatch
	}
	switch {
	case a.User != r.user.name:
		return alloc.WrongCredentials
	case r.again(t, serial):
		return alloc.OK
	case serial != t.serial, r.tuple == a.Tuple && !t.lost:
		return alloc.BadRequest
	}
	return alloc.OK
}

// again says that the request was sent before, and its answer may have been lost.
func (r *request) again(t *ticket, serial uint32) bool {
	return serial+1 == t.serial && t.from == r.tuple && r.now.Before(t.at.Add(ticketKept))
}

// move expects the shard's lock, and judge's consent. It returns the connection that was moved to before and is not any more.
func (r *request) move(a *alloc.Allocation, serial uint32) (left *client) {
	rel := relayOf(a)
	t := rel.ticket
	if r.again(t, serial) {
		return nil
	}
	if t.next != nil {
		left = t.next
	}
	r.shard.table.Move(a, r.tuple)
	t.serial++
	t.from, t.at, t.next = r.tuple, r.now, r.client()
	if t.lost {
		rel.settle()
	}
	return left
}

// arrive ends a move when data came from where it leads to. It expects the shard's lock.
func (r *relay) arrive(from alloc.FiveTuple) {
	if r.ticket != nil && r.ticket.next != nil && r.alloc.Moving(from) {
		r.settle()
	}
}

// settle makes the place where a move leads to the client's only one. It expects the shard's lock.
func (r *relay) settle() {
	t := r.ticket
	before := r.client.Load()
	r.shard.table.Arrive(r.alloc)
	for _, h := range [2]*relay{r, r.second} {
		if h != nil {
			h.client.Store(t.next)
			h.holdLocked()
		}
	}
	t.next, t.lost = nil, false
	if !before.is(r.client.Load()) {
		time.AfterFunc(0, func() { before.setAllocated(false) }) // which takes other locks: not under this one
	}
}

// hangUp takes note that a client's connection has ended, and the allocation with it, unless that can move: then it goes where
// it was about to, or waits for a while.
func (sh *shard) hangUp(tuple alloc.FiveTuple) {
	sh.mu.Lock()
	a := sh.table.Lookup(tuple)
	var t *ticket
	if a != nil {
		t = relayOf(a).ticket
	}
	if t == nil {
		sh.mu.Unlock()
		sh.end(tuple)
		return
	}
	defer sh.mu.Unlock()
	switch {
	case a.Moving(tuple):
		sh.table.Stay(a)
		t.next = nil
	case t.next != nil:
		relayOf(a).settle()
	default:
		t.lost = true
		sh.table.Curtail(a, sh.server.now().Add(sh.server.config.MobilityGrace))
	}
}

// endMobile ends an allocation by its ticket.
func (sh *shard) endMobile(id ticketID) {
	sh.mu.Lock()
	a := sh.mobile[id]
	var tuple alloc.FiveTuple
	if a != nil {
		tuple = a.Tuple
	}
	sh.mu.Unlock()
	if a != nil {
		sh.end(tuple)
	}
}

// forget makes a ticket worthless.
func (sh *shard) forget(t *ticket) {
	sh.mu.Lock()
	delete(sh.mobile, t.id)
	next := t.next
	sh.mu.Unlock()
	if next != nil && next.stream != nil {
		next.stream.setAllocated(false)
	}
}
