package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// announcement is what a router sends to all hosts: RFC 6887 §14.1.2, RFC 6886 §3.2.1.
func announcement(how How, seconds uint32, at netip.Addr) []byte {
	b := make([]byte, 24)
	b[0], b[1] = pcpVersion, 0x80
	binary.BigEndian.PutUint32(b[8:], seconds)
	if how == NATPMP {
		b = append([]byte{0, 0x80, 0, 0}, binary.BigEndian.AppendUint32(nil, seconds)...)
		b = append(b, at.AsSlice()...)
	}
	return b
}

func TestParseAnnounce(t *testing.T) {
	at := outside.Addr()
	if s, where, err := parseAnnounce(announcement(PCP, 77, at)); s != 77 || where.IsValid() || err != nil {
		t.Errorf("PCP: %d, %v, %v", s, where, err)
	}
	if s, where, err := parseAnnounce(announcement(NATPMP, 77, at)); s != 77 || where != at || err != nil {
		t.Errorf("NAT-PMP: %d, %v, %v", s, where, err)
	}
	refused := append([]byte{}, announcement(PCP, 77, at)...)
	refused[3] = 3
	for name, b := range map[string][]byte{
		"empty": nil, "a request": {2, 0, 0, 0}, "cut off": announcement(PCP, 77, at)[:20], "an error": refused,
		"a mapping": pcpAnswer(appendPCP(nil, number, TCP, ours, ours, wantLifetime), outside, 14), "longer than NAT-PMP's": append(announcement(NATPMP, 77, at), 0),
	} {
		if _, _, err := parseAnnounce(b); !errors.Is(err, errAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEpoch: RFC 6887 §8.5.
func TestEpoch(t *testing.T) {
	then := time.Now()
	for _, c := range []struct {
		name          string
		before, after uint32
		passed        time.Duration
		want          bool
	}{
		{"at once", 1000, 1000, 0, false},
		{"an hour later", 1000, 4600, time.Hour, false},
		{"an hour later, by a slow clock", 1000, 1000 + 3400, time.Hour, false},
		{"an hour later, by a fast clock", 1000, 1000 + 3800, time.Hour, false},
		{"a second back, as packets pass each other", 1000, 999, 0, false},
		{"begun anew", 1000, 3, time.Minute, true},
		{"begun anew, long up by now", 10, 500, time.Hour, true},
		{"more than has passed", 10, 500, time.Minute, true},
	} {
		if got := (epoch{c.before, then}).lost(epoch{c.after, then.Add(c.passed)}); got != c.want {
			t.Errorf("%s: lost %v, want %v", c.name, got, c.want)
		}
	}
	if !(epoch{}).lost(epoch{5, then}) {
		t.Error("a router of which nothing is known has lost nothing")
	}
}

// TestAnnounced: a mapping is asked for anew when its router says that it has begun anew, and not when it says that it has not, nor on another's word.
func TestAnnounced(t *testing.T) {
	for _, how := range []How{PCP, NATPMP} {
		t.Run(string(how), func(t *testing.T) {
			r := newRouter(t, how)
			lo := netip.MustParseAddr("127.0.0.1")
			group := make(chan netip.AddrPort, 16)
			m := New(Config{
				Port: 4242, server: uint16(r.conn.LocalAddr().(*net.UDPAddr).Port), rest: time.Millisecond,
				gateway: func(bool) (netip.Addr, netip.Addr, error) { return lo, lo, nil },
				announcements: func(bool, netip.Addr) (*net.UDPConn, error) {
					conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
					if err == nil {
						group <- conn.LocalAddr().(*net.UDPAddr).AddrPort()
					}
					return conn, err
				},
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- m.Serve(ctx) }()
			<-r.asked
			hosts := <-group // it listens
			say := func(from string, b []byte) {
				t.Helper()
				conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(hosts))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			say("127.0.0.1", announcement(how, 1, outside.Addr()))       // it is up since a second
			say("127.0.0.2", announcement(how, 100_000, outside.Addr())) // not our router
			say("127.0.0.1", []byte("noise"))
			say("127.0.0.1", announcement(how, 100_000, outside.Addr())) // not the one that we know
			<-r.asked
			<-group
			if n := len(r.asked); n != 0 {
				t.Errorf("asked %d times more than once anew", n)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
