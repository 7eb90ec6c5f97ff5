package turn

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

func withTicket(value []byte) attrs { return raw(stun.AttrMobilityTicket, value...) }

// mobile makes an allocation that can move, with a channel to a peer.
func mobile(t *testing.T, c *testClient) (peer *testPeer, relayed netip.AddrPort, ticket []byte) {
	t.Helper()
	m := c.login().ask(stun.MethodAllocate, wantUDP, withTicket(nil))
	ticket, ok := m.Attr(stun.AttrMobilityTicket)
	if !ok || len(ticket) < 16 {
		t.Fatalf("Allocate: got %v and a ticket of %d bytes", codeOf(t, m), len(ticket))
	}
	relayed, _ = m.XORAddr(stun.AttrXORRelayedAddress)
	peer = newPeer(t, loop4)
	if got := c.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); got != 0 {
		t.Fatalf("ChannelBind: %v", got)
	}
	return peer, relayed, bytes.Clone(ticket)
}

func withMobility(c *Config) { c.Mobility = true }

// resume takes an allocation along, and returns the new ticket.
func (c *testClient) resume(ticket []byte) []byte {
	c.t.Helper()
	m := c.ask(stun.MethodRefresh, withTicket(ticket))
	next, ok := m.Attr(stun.AttrMobilityTicket)
	if codeOf(c.t, m) != 0 || !ok || bytes.Equal(next, ticket) {
		c.t.Fatalf("Refresh with a ticket: got %v and %x", codeOf(c.t, m), next)
	}
	return bytes.Clone(next)
}

// TURN.md 118: a ticket moves its allocation, whatever transport the client comes over.
func TestMobility(t *testing.T) {
	secured := func(t testing.TB, s *Server) *testClient { return dialDTLS(t, s.DTLSAddrs()[0]) }
	for _, way := range []struct {
		name     string
		from, to func(testing.TB, *Server) *testClient
		mode     RelayMode
	}{
		{"UDP to UDP", dialUDP, dialUDP, RelayPort},
		{"TCP to UDP", dialTCP, dialUDP, RelayPort},
		{"UDP to TCP", dialUDP, dialTCP, RelayPort},
		{"TCP to TCP", dialTCP, dialTCP, RelayPort},
		{"DTLS to DTLS", secured, secured, RelayPort},
		{"UDP to DTLS", dialUDP, secured, RelayPort},
		{"DTLS to TCP", secured, dialTCP, RelayPort},
		{"UDP to DTLS, relayed address shared", dialUDP, secured, RelayShared},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := startDTLS(t, func(c *Config) { c.Mobility, c.RelayMode = true, way.mode })
			before, after := way.from(t, s), way.to(t, s).login()
			peer, relayed, ticket := mobile(t, before)
			next := after.resume(ticket)
			peer.send(relayed, []byte("to the old place"))
			before.frame()
			before.send(channelData(0x4000, []byte("from the old place")))
			if got, _ := peer.receive(); string(got) != "from the old place" {
				t.Errorf("got %q", got)
			}
			after.send(channelData(0x4000, []byte("moved")))
			if got, from := peer.receive(); string(got) != "moved" || from != relayed {
				t.Errorf("got %q from %v, want it from %v", got, from, relayed)
			}
			peer.send(relayed, []byte("to the new place"))
			if number, data, err := stun.ParseChannelData(after.frame()); err != nil || number != 0x4000 || string(data) != "to the new place" {
				t.Errorf("got %q, %v", data, err)
			}
			if got := before.code(stun.MethodRefresh); got != stun.CodeAllocationMismatch {
				t.Errorf("the old 5-tuple afterwards: got %v, want 437", got)
			}
			if got := s.ledgerTotal(); got != 1 || count(s) != 1 {
				t.Errorf("charged %d, counted %d, want 1", got, count(s))
			}
			third := way.to(t, s).login()
			if got := third.code(stun.MethodRefresh, withTicket(ticket)); got != stun.CodeBadRequest {
				t.Errorf("the ticket of before: got %v, want 400", got)
			}
			third.resume(next)
			if got := after.code(stun.MethodRefresh, lifetime(0)); got != 0 {
				t.Errorf("the end: got %v", got)
			}
			if got := third.code(stun.MethodRefresh, withTicket(next)); got != stun.CodeAllocationMismatch {
				t.Errorf("the ticket of what has ended: got %v, want 437", got)
			}
			waitFor(t, "the end", func() bool { return count(s) == 0 && s.ledgerTotal() == 0 })
			if n := len(s.shards[0].mobile); n != 0 {
				t.Errorf("%d tickets left", n)
			}
		})
	}
}

// RFC 8016 §3.2.2: what a ticket is refused for, in which nothing changes.
func TestTicketsThatAreRefused(t *testing.T) {
	s := startServer(t, withMobility)
	c := dialUDP(t, s)
	peer, relayed, ticket := mobile(t, c)
	wrong := bytes.Clone(ticket)
	wrong[len(wrong)-1] ^= 1
	other := dialUDP(t, s)
	other.user, other.pass = "v", "q"
	other.login()
	owner := dialUDP(t, s)
	owner.allocate()
	for _, step := range []struct {
		name   string
		client *testClient
		ticket []byte
		want   stun.ErrorCode
	}{
		{"changed", dialUDP(t, s).login(), wrong, 400},
		{"short", dialUDP(t, s).login(), ticket[:20], 400},
		{"empty", dialUDP(t, s).login(), nil, 400},
		{"another user", other, ticket, 441},
		{"from the allocation's 5-tuple", c, ticket, 400},
		{"from a 5-tuple with an allocation", owner, ticket, 437},
	} {
		if got := step.client.code(stun.MethodRefresh, withTicket(step.ticket)); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
	if got := dialUDP(t, s).login().code(stun.MethodAllocate, wantUDP, withTicket(ticket)); got != 400 {
		t.Errorf("Allocate with a ticket: got %v, want 400", got)
	}
	if got := dialTCP(t, s).login().code(stun.MethodAllocate, wantTCP, withTicket(nil)); got != 405 {
		t.Errorf("a TCP allocation: got %v, want 405", got)
	}
	off := dialUDP(t, startServer(t, nil)).login()
	if got := off.code(stun.MethodRefresh, withTicket(ticket)); got != 405 {
		t.Errorf("mobility off: got %v, want 405", got)
	}
	peer.send(relayed, []byte("still here"))
	c.frame()
}

// A Refresh whose answer was lost may come again, for 30 s.
func TestTicketSentAgain(t *testing.T) {
	s := startServer(t, withMobility)
	c := dialUDP(t, s)
	peer, _, ticket := mobile(t, c)
	after := dialUDP(t, s).login()
	after.resume(ticket)
	after.resume(ticket)
	after.send(channelData(0x4000, []byte("moved")))
	peer.receive()
	after.resume(ticket)
	s.skew.Store(int64(31 * time.Second))
	if got := after.code(stun.MethodRefresh, withTicket(ticket)); got != stun.CodeBadRequest {
		t.Errorf("after 31 s: got %v, want 400", got)
	}
}

// TURN.md 37: a connection that ends takes no allocation along that can move. It waits for its client a while.
func TestMobileAllocationOutlivesItsConnection(t *testing.T) {
	s := startServer(t, withMobility)
	c := dialTCP(t, s)
	peer, relayed, ticket := mobile(t, c)
	c.conn.Close()
	lost := func() bool {
		s.shards[0].mu.Lock()
		defer s.shards[0].mu.Unlock()
		for _, a := range s.shards[0].mobile {
			return relayOf(a).ticket.lost
		}
		return false
	}
	waitFor(t, "the end of the connection", lost)
	after := dialUDP(t, s).login()
	next := after.resume(ticket)
	peer.send(relayed, []byte("at once")) // nobody is left to serve elsewhere
	after.frame()
	third := dialTCP(t, s).login()
	third.resume(next)
	third.conn.Close() // before it arrived: the move did not happen
	waitFor(t, "the move to be taken back", func() bool {
		peer.send(relayed, []byte("back"))
		return string(after.frame()) != ""
	})

	gone := dialTCP(t, s)
	mobile(t, gone)
	before := count(s)
	gone.conn.Close()
	waitFor(t, "the end of the connection", func() bool { return s.Stats().Streams == 0 })
	s.skew.Store(int64(32 * time.Second))
	waitFor(t, "the end of the allocation", func() bool { return count(s) == before-1 })
}
