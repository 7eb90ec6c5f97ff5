package turn

import (
	"bytes"
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
	"traverse.internal/core/udp"
)

// TestSystemCalls counts what a fixed load costs in system calls, up and down, of one flow and of many. The shard is kept from
// its table while the load comes in, so that what it finds then does not depend on who runs when: all but the first datagrams.
func TestSystemCalls(t *testing.T) {
	const n = 48
	s := startServer(t, func(c *Config) { c.Shards = 1; c.Limits.PerUser = 2 * n })
	clients := newCrowd(t, s)
	peers := newSocket(t, netip.IPv4Unspecified(), false)
	nonces := make([][]byte, n)
	clients.learn(0, n, nonces)
	clients.want(stun.MethodAllocate, 0, n, nonces, wantUDP)
	port := peers.conn.LocalAddr().Port()
	relayed := map[int]netip.AddrPort{}
	for i := range n {
		clients.want(stun.MethodChannelBind, i, i+1, nonces[i:], channel(0x4000), peerAt(netip.AddrPortFrom(member(i), port)))
	}
	for _, one := range s.Sessions() {
		relayed[memberOf(one.Client.Addr())] = one.Relayed
	}
	send := func(up bool, who, size int) {
		data := bytes.Repeat([]byte{byte(who)}, size)
		if up {
			clients.out.Add(channelData(0x4000, data), udp.Route{To: clients.server, From: member(who)})
			return
		}
		peers.out.Add(data, udp.Route{To: relayed[who], From: member(who)})
	}
	for _, c := range []struct {
		name string
		up   bool
		many bool
		most uint64 // system calls for n datagrams: waits, receives and sends
	}{
		// Twice a wait, a receive and a send: for what came before the shard was stopped, and for the rest.
		{"up, one flow", true, false, 8},
		{"down, one flow", false, false, 8},
		// A send for each relayed socket, or a receive.
		{"up, many flows", true, true, n + 6},
		{"down, many flows", false, true, n + 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, at := clients.socket, peers
			if !c.up {
				from, at = peers, clients.socket
			}
			round := func() {
				s.shards[0].mu.Lock()
				for i := range n {
					who := 0
					if c.many {
						who = i
					}
					send(c.up, who, 100+i) // longer and longer: none of them makes a train
				}
				from.flush()
				s.shards[0].mu.Unlock()
				for range n {
					at.receive()
				}
			}
			counted := func() uint64 {
				io := s.Stats().Datagrams
				return io.RecvCalls + io.SendCalls + io.Waits - io.Vain // of those, as many as this test is late
			}
			round() // one flow has its connected socket then
			waitFor(t, "the first round to be counted", func() bool { before := counted(); return before == counted() })
			sent, before := s.Stats().Datagrams.Sent, counted()
			const rounds = 5
			for range rounds {
				round()
			}
			waitFor(t, "the rounds to be counted", func() bool { return s.Stats().Datagrams.Sent >= sent+rounds*n })
			if got := counted() - before; got > rounds*c.most {
				t.Errorf("%d system calls for %d rounds of %d datagrams, want %d a round at most", got, rounds, n, c.most)
			}
		})
	}
}

// TestNothingIsShared: with every lock but its own held, a shard relays.
func TestNothingIsShared(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Shards = 2 })
	client, peer := dialUDP(t, s), newPeer(t, loop4)
	relayed := client.allocate()
	if code := client.code(stun.MethodChannelBind, channel(0x4000), peerAt(peer.addr)); code != 0 {
		t.Fatal(code)
	}
	for _, sh := range s.shards {
		sh.mu.Lock()
		var others int
		for range sh.table.All {
			others++
		}
		if others == 0 {
			defer sh.mu.Unlock() // and held until then
			continue
		}
		sh.mu.Unlock()
	}
	for _, lock := range []interface{ Lock() }{&s.ledgerMu, &s.streamsMu, &s.reloads, &s.kernel.mu} {
		lock.Lock()
	}
	defer s.ledgerMu.Unlock()
	defer s.streamsMu.Unlock()
	defer s.reloads.Unlock()
	defer s.kernel.mu.Unlock()
	for i := range 2 * directAfter { // a socket that is connected meanwhile takes none of them either
		data := []byte{byte(i), 1, 2, 3}
		client.send(channelData(0x4000, data))
		if got, _ := peer.receive(); !bytes.Equal(got, data) {
			t.Fatalf("up: got %x", got)
		}
		peer.send(relayed, data)
		if got := payload(t, client.frame()); !bytes.Equal(got, data) {
			t.Fatalf("down: got %x", got)
		}
	}
}
