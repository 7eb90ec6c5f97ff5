package ice

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/reason"
)

var testPrint = bytes.Repeat([]byte{1}, 32)

// connectUDP is connectVia with UDP offered by both.
func connectUDP(ctx context.Context, caller, callee *Endpoint, change func(Offer) Offer) (b both) {
	at, err := caller.Gather(ctx)
	if err != nil {
		return both{offererErr: err}
	}
	defer at.Close()
	at.UseUDP(testPrint)
	offer, err := ParseBinary(change(at.Offer()).AppendBinary(nil))
	if err != nil {
		return both{answererErr: err}
	}
	called, err := callee.Gather(ctx)
	if err != nil {
		return both{answererErr: err}
	}
	defer called.Close()
	called.UseUDP(testPrint)
	if err := called.Permit(ctx, offer); err != nil {
		return both{answererErr: err}
	}
	answer, err := ParseBinary(change(called.Offer()).AppendBinary(nil))
	if err != nil {
		return both{offererErr: err}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b.answerer, b.answererErr = called.Negotiate(ctx, Answerer, offer)
		if b.answererErr == nil && b.answerer.Conn != nil {
			_, b.answererErr = b.answerer.Conn.Write(hello)
		}
	})
	b.offerer, b.offererErr = at.Negotiate(ctx, Offerer, answer)
	wg.Wait()
	return b
}

// tcpFiltered takes what leads to TCP connections out of an offer.
func tcpFiltered(o Offer) Offer {
	var keep []Candidate
	for _, c := range o.Candidates {
		if !c.TCP {
			keep = append(keep, c)
		}
	}
	o.Candidates, o.Relays = keep, nil
	return o
}

// udpFiltered makes UDP lead nowhere: to a port where nobody answers.
func udpFiltered(o Offer) Offer {
	for i, c := range o.Candidates {
		if !c.TCP {
			o.Candidates[i].Addr = netip.AddrPortFrom(c.Addr.Addr(), 9)
		}
	}
	return o
}

func unchanged(o Offer) Offer { return o }

func TestUDPWhereTCPIsFiltered(t *testing.T) {
	for _, c := range []struct {
		name string
		addr netip.Addr
	}{{"IPv4", lo4}, {"IPv6", lo6}} {
		t.Run(c.name, func(t *testing.T) {
			if c.addr.Is6() {
				needIPv6(t)
			}
			noGoroutines(t)
			caller, callee := listenTest(t, Config{Addrs: []netip.Addr{c.addr}}), listenTest(t, Config{Addrs: []netip.Addr{c.addr}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for range 5 {
				began := time.Now()
				b := connectUDP(ctx, caller, callee, tcpFiltered)
				if err := errors.Join(b.offererErr, b.answererErr); err != nil {
					t.Fatal(err)
				}
				t.Logf("%v, %+v", time.Since(began), b.offerer.Route)
				for _, p := range []*Path{b.offerer, b.answerer} {
					if p.Pair == nil || p.Route.Kind != Direct || p.Route.Via != "host/udp" || p.Route.Reason != reason.DirectLAN {
						t.Fatalf("path %+v, want direct host/udp DIRECT_LAN", p.Route)
					}
				}
				speak(t, b.offerer.Pair, b.answerer.Pair)
				speak(t, b.answerer.Pair, b.offerer.Pair)
				b.close()
			}
		})
	}
}

// speak sends a few packets of two lengths and wants all of them; nothing is lost on loopback.
func speak(t *testing.T, from, to *Pair) {
	t.Helper()
	var out [][]byte
	for i := range 100 {
		out = append(out, bytes.Repeat([]byte{byte(i)}, 1000+i%2*200))
	}
	if tooBig, err := from.Send(out); tooBig || err != nil {
		t.Fatalf("Send = %v, %v", tooBig, err)
	}
	_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := 0
	for got < len(out) {
		if err := to.Receive(func(b []byte) {
			if !bytes.Equal(b, out[got]) {
				t.Fatalf("packet %d differs", got)
			}
			got++
		}); err != nil {
			t.Fatalf("after %d packets: %v", got, err)
		}
	}
	_ = to.SetReadDeadline(time.Time{})
}

func TestTCPGoesBeforeUDP(t *testing.T) {
	noGoroutines(t)
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 10 {
		b := connectUDP(ctx, caller, callee, unchanged)
		if err := errors.Join(b.offererErr, b.answererErr); err != nil {
			t.Fatal(err)
		}
		if b.offerer.Conn == nil || b.answerer.Conn == nil || b.offerer.Route.Via != "host/tcp" {
			t.Fatalf("path %+v, want TCP where both work", b.offerer.Route)
		}
		talk(t, b, 1000)
		b.close()
	}
}

// Two pairs between the same two sockets do not mix.
func TestPairsBetweenTheSameSockets(t *testing.T) {
	noGoroutines(t)
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all [4]both
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			if i%2 == 0 {
				all[i] = connectUDP(ctx, caller, callee, tcpFiltered)
			} else {
				all[i] = connectUDP(ctx, callee, caller, tcpFiltered)
			}
		})
	}
	wg.Wait()
	for _, b := range all {
		if err := errors.Join(b.offererErr, b.answererErr); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range all {
		speak(t, b.offerer.Pair, b.answerer.Pair)
		b.offerer.Close()
	}
	for _, b := range all {
		b.close()
	}
}

// What a stranger sends to the sockets reaches nobody, and is counted.
func TestStrangersReachNoPair(t *testing.T) {
	noGoroutines(t)
	caller, callee := listenTest(t, Config{}), listenTest(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b := connectUDP(ctx, caller, callee, tcpFiltered)
	if err := errors.Join(b.offererErr, b.answererErr); err != nil {
		t.Fatal(err)
	}
	defer b.close()
	stranger := listenTest(t, Config{})
	sock := stranger.udp.socks[0]
	tag := b.answerer.Pair.u.tagIn
	packets := [][]byte{
		{byte(tag >> 24), byte(tag >> 16), byte(tag >> 8), byte(tag), 22, 0xfe, 0xfd}, // the tag, from elsewhere
		{0xc0, 0, 0, 0, 1}, {22, 0xfe, 0xfd, 0, 0}, {}, bytes.Repeat([]byte{0xff}, 3000), {0, 1, 0, 0, 0, 0},
	}
	for _, p := range packets {
		stranger.udp.send(p, way{sock: sock, to: b.answerer.Pair.local()})
	}
	eventually(t, "six stray datagrams", func() bool { return callee.Stats().UDPStray >= uint64(len(packets)) }, func() string { return "" })
	speak(t, b.offerer.Pair, b.answerer.Pair)
}

// When neither leads anywhere, the error says what became of UDP too.
func TestNoPathNamesUDP(t *testing.T) {
	noGoroutines(t)
	cfg := Config{NegotiateTimeout: 200 * time.Millisecond}
	b := connectUDP(t.Context(), listenTest(t, cfg), listenTest(t, cfg), func(o Offer) Offer { return udpFiltered(tcpFiltered(o)) })
	var no *NoPathError
	if !errors.As(b.offererErr, &no) || len(no.Tries) != 1 || !no.Tries[0].UDP || no.Tries[0].State != "no answer" || no.Tries[0].Dials == 0 {
		t.Errorf("error %v, want one try over UDP without an answer", b.offererErr)
	}
}
