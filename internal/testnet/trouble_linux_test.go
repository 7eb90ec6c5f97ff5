package testnet

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"traverse.internal/internal/netlab"
)

// stream is a flow of bytes from one device to another and back, as the test follows it.
type stream struct {
	t    *testing.T
	from *station
	said chan message
}

// stream begins one, which must go that way at first.
func (s *station) stream(t *testing.T, to *station, kind string) *stream {
	t.Helper()
	f := &stream{t, s, s.channel(s.results, to.id)}
	s.write(message{Kind: "flow", Device: to.id})
	if m := f.next(); m.Kind != "connected" || m.Route.Kind != kind {
		t.Fatalf("it began %+v, want %s", m, kind)
	}
	return f
}

func (f *stream) next() message {
	f.t.Helper()
	return f.from.await(f.said)
}

// moves waits until the session has moved to a path of that kind, and says how long that took.
func (f *stream) moves(kind string) time.Duration {
	f.t.Helper()
	began := time.Now()
	for {
		switch m := f.next(); {
		case m.Kind != "path":
			f.t.Fatalf("it said %+v, want a move to %s", m, kind)
		case m.Route.Kind == kind:
			return time.Since(began).Round(time.Millisecond)
		}
	}
}

// goesOn waits until more has come back than may have been on its way when it is asked: both windows and what sockets hold.
func (f *stream) goesOn() time.Duration {
	f.t.Helper()
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for least := f.from.count(f.t) + 48<<20; f.from.count(f.t) < least; <-tick.C {
		if time.Since(began) > patience {
			f.t.Fatal("nothing comes back any more")
		}
	}
	return time.Since(began).Round(time.Millisecond)
}

// ends stops it; every byte must have come back, in order.
func (f *stream) ends() {
	f.t.Helper()
	f.from.write(message{Kind: "stop"})
	for {
		switch m := f.next(); {
		case m.Kind == "path":
		case m.Kind != "flowed" || m.Error != "" || m.Bytes == 0:
			f.t.Fatalf("it ended %+v", m)
		default:
			return
		}
	}
}

// count asks a station how many bytes of its flow have come back.
func (s *station) count(t *testing.T) int64 {
	t.Helper()
	s.write(message{Kind: "count"})
	m := s.await(s.counts)
	if m.Error != "" {
		t.Fatal(m.Error)
	}
	return m.Bytes
}

// TestRelayDiesInUse: the only way is over a relay, whose process dies and comes back; one that stands still instead, which no connection tells of.
func TestRelayDiesInUse(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	a, b := w.device(t, "a", w.Site(t, Symmetric, 1), 0), w.device(t, "b", w.Site(t, Symmetric, 1), 0)
	f := a.stream(t, b, "relayed")
	w.relayed.kill(t)
	w.startRelay(t)
	t.Logf("goes on %v after the relay was killed", f.goesOn())
	w.relayed.signal(t, syscall.SIGSTOP)
	<-time.After(4 * time.Second) // longer than a sign of life may take
	w.relayed.signal(t, syscall.SIGCONT)
	t.Logf("goes on %v after the relay woke", f.goesOn())
	f.ends()
}

// TestRelayDiesWhileGathering: a relay that answers nothing and then dies under those who ask it. Who can do without it does; who cannot learns so, and
// finds a path when the relay is back.
func TestRelayDiesWhileGathering(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	open := []*station{w.device(t, "a", w.Site(t, Restricted, 1), 0), w.device(t, "b", w.Site(t, Public, 1), 0)}
	closed := []*station{w.device(t, "c", w.Site(t, Symmetric, 1), 0), w.device(t, "d", w.Site(t, Symmetric, 1), 0)}
	w.relayed.signal(t, syscall.SIGSTOP)
	open[0].write(message{Kind: "connect", Device: open[1].id})
	closed[0].write(message{Kind: "connect", Device: closed[1].id})
	<-time.After(500 * time.Millisecond) // allocations are asked for by now
	w.relayed.kill(t)
	if m := open[0].await(open[0].channel(open[0].results, open[1].id)); m.Error != "" || m.Route.Kind != "direct" {
		t.Errorf("who needs no relay: %+v", m)
	} else {
		t.Logf("%s %s after %v", m.Route.Kind, m.Route.Via, m.Setup.Round(time.Millisecond))
	}
	m := closed[0].await(closed[0].channel(closed[0].results, closed[1].id))
	if m.Error == "" || m.Reason == "" {
		t.Errorf("who needs one: %+v, want an error with its reason", m)
	}
	t.Logf("%s after %v: %s", m.Reason, m.Setup.Round(time.Millisecond), m.Error)
	w.startRelay(t)
	if m, _ := closed[0].connect(closed[1]); m.Error != "" || m.Route.Kind != "relayed" {
		t.Errorf("with the relay back: %+v", m)
	}
}

// TestRelayDiesDuringMove: the relay falls silent as the session begins to move away from it, while it carries the offers of that move.
func TestRelayDiesDuringMove(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	sites := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
	a, b := w.device(t, "a", sites[0], 0), w.device(t, "b", sites[1], 0)
	block, unblock := w.between(t, sites[0], sites[1])
	block()
	f := a.stream(t, b, "relayed")
	w.relayed.signal(t, syscall.SIGSTOP)
	unblock()
	t.Logf("direct %v after the relay fell silent", f.moves("direct"))
	w.relayed.kill(t)
	f.goesOn()
	f.ends()
}

// TestBigPacketsAreLost: a path that passes packets up to 1280 bytes and swallows larger ones without a word, from the beginning and later. Checks are small
// and come through, so the path is chosen, and TLS cannot even begin on it.
func TestBigPacketsAreLost(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	sites := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
	a, b := w.device(t, "a", sites[0], 0), w.device(t, "b", sites[1], 0)
	w.drop(t, sites[0], sites[1], true, "meta length > 1280")
	began := time.Now()
	f := a.stream(t, b, "relayed")
	t.Logf("over the relay after %v", time.Since(began).Round(time.Millisecond))
	f.goesOn()
	f.ends()
	w.core.Run(t, "nft", "delete", "table", "inet", "between")

	a, b = w.device(t, "a", sites[0], 0), w.device(t, "b", sites[1], 0)
	f = a.stream(t, b, "direct")
	w.drop(t, sites[0], sites[1], true, "meta length > 1280")
	t.Logf("over the relay %v after a direct path became so", f.moves("relayed"))
	f.goesOn()
	f.ends()
}

// TestOneWayBlackHole: packets are lost in one direction only, under the sender first, then under the other side.
func TestOneWayBlackHole(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	for i, name := range []string{"there", "back"} {
		sites := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
		a, b := w.device(t, "a", sites[0], 0), w.device(t, "b", sites[1], 0)
		f := a.stream(t, b, "direct")
		w.drop(t, sites[i], sites[1-i], false, "")
		t.Logf("%s: relayed after %v", name, f.moves("relayed"))
		f.goesOn()
		f.ends()
		w.core.Run(t, "nft", "delete", "table", "inet", "between")
	}
}

// TestAddressChanges: a device gets other addresses in the middle of a flow, direct and relayed; its interface goes down and comes up again.
func TestAddressChanges(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	direct := []*Site{w.Site(t, Public, 1), w.Site(t, Public, 1)}
	relayed := []*Site{w.Site(t, Symmetric, 1), w.Site(t, Symmetric, 1)}
	for _, c := range []struct {
		kind  string
		sites []*Site
		own   []string // the new addresses
		via   []string
	}{
		{"direct", direct, []string{"20.0.2.77/24", "2a00:0:0:2::77/64"}, []string{"20.0.2.1", "2a00:0:0:2::1"}},
		{"relayed", relayed, []string{"192.168.1.77/24"}, []string{"192.168.1.1"}},
	} {
		a, b := w.device(t, c.kind+" a", c.sites[0], 0), w.device(t, c.kind+" b", c.sites[1], 0)
		f := a.stream(t, b, c.kind)
		host := c.sites[0].Hosts[0]
		address := func() {
			host.Run(t, "ip", "addr", "flush", "dev", "eth0", "scope", "global")
			for i, own := range c.own {
				host.Run(t, "ip", "addr", "add", own, "dev", "eth0")
				host.Run(t, "ip", "route", "replace", "default", "via", c.via[i])
			}
		}
		address()
		t.Logf("%s: goes on %v after its addresses changed", c.kind, f.goesOn())
		host.Run(t, "ip", "link", "set", "eth0", "down")
		<-time.After(4 * time.Second) // longer than a sign of life may take
		host.Run(t, "ip", "link", "set", "eth0", "up")
		address()
		t.Logf("%s: goes on %v after its interface came up", c.kind, f.goesOn())
		f.ends()
	}
}

// drop has the Internet lose what one site sends to another, or both to each other, where a condition holds.
func (w *world) drop(t *testing.T, from, to *Site, both bool, condition string) {
	t.Helper()
	var rules string
	for i, p := range from.Addrs[0] {
		q, family := to.Addrs[0][i], "ip"
		if p.Is6() {
			family += "6"
		}
		rules += fmt.Sprintf("\t\t%[1]s saddr %[2]v %[1]s daddr %[3]v %[4]s drop\n", family, p, q, condition)
		if both {
			rules += fmt.Sprintf("\t\t%[1]s saddr %[3]v %[1]s daddr %[2]v %[4]s drop\n", family, p, q, condition)
		}
	}
	w.core.Feed(t, "table inet between {\n\tchain through {\n\t\ttype filter hook forward priority filter;\n"+rules+"\t}\n}\n", "nft", "-f", "-")
}
