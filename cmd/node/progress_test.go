package main

import (
	"strings"
	"testing"
	"time"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// TestProgressLines: what the renderer makes of transfers, on a terminal and elsewhere.
func TestProgressLines(t *testing.T) {
	direct := &daemon.Path{Kind: "direct", Via: "host/tcp"}
	relayed := &daemon.Path{Kind: "relayed", Via: "relay/tcp"}
	phone, desk, tablet := daemon.PeerRef{Name: "bob:phone"}, daemon.PeerRef{Name: "bob:desk"}, daemon.PeerRef{Name: "bob:tablet"}
	const mib = 1 << 20
	for _, c := range []struct {
		name  string
		list  []daemon.Transfer
		bars  bool
		limit int
		want  string
	}{
		{"nothing has moved", []daemon.Transfer{{Peer: phone, State: daemon.StateConnecting, Size: mib}}, true, 0, `
bob:phone  [....................]  0%  0/1.0 MiB  connecting
`},
		{"on its way", []daemon.Transfer{{Peer: desk, State: daemon.StateSending, Path: direct, Bytes: 121 * mib, Size: 256 * mib, RateBPS: 412 * mib}}, true, 0, `
bob:desk  direct host/tcp  [#########...........]  47%  121/256 MiB  412 MiB/s  eta 0:01  sending
`},
		{"slow, of which a part is not wanted", []daemon.Transfer{{Peer: desk, State: daemon.StateReceiving, Path: relayed, Bytes: mib, Size: 256 * mib, UnwantedBytes: 56 * mib, RateBPS: 1536}}, true, 0, `
bob:desk  relayed relay/tcp  [....................]  0%  1.0/200 MiB  1.5 KiB/s  eta 2264:11  receiving
`},
		{"over, to a file", []daemon.Transfer{{Peer: phone, State: daemon.StateDone, Path: direct, Bytes: 5, Size: 5, RateBPS: 10}}, false, 0, `
bob:phone  direct host/tcp  100%  5/5 B  10 B/s  done
`},
		{"an empty file", []daemon.Transfer{{Peer: phone, State: daemon.StateDone}}, true, 0, `
bob:phone  [####################]  100%  0/0 B  done
`},
		{"an account's three devices", []daemon.Transfer{{Peer: desk, State: daemon.StateSending, Size: 256 * mib, Devices: []daemon.DeviceTransfer{
			{Peer: desk, State: daemon.StateSending, Path: direct, Bytes: 121 * mib, RateBPS: 412 * mib},
			{Peer: phone, State: daemon.StateDeclined, Error: cli.Errorf("E_DECLINED", "no")},
			{Peer: tablet, State: daemon.StateQueued, Path: relayed, Bytes: 7 * mib},
		}}}, true, 0, `
bob:desk    direct host/tcp    [#########...........]  47%  121/256 MiB  412 MiB/s  eta 0:01  sending
bob:phone                      [....................]   0%    0/256 MiB                       declined
bob:tablet  relayed relay/tcp  [....................]   2%  7.0/256 MiB                       queued
total                          [#####...............]  25%  128/512 MiB  412 MiB/s  eta 0:01  0 of 2 done
`},
		{"two contacts, to a file", []daemon.Transfer{
			{Peer: daemon.PeerRef{Name: "carol"}, State: daemon.StateDone, Path: direct, Bytes: 2048, Size: 2048},
			{Peer: daemon.PeerRef{Name: "dave"}, State: daemon.StateOffered, Path: direct, Size: 2048},
		}, false, 0, `
carol  direct host/tcp  100%  2.0/2.0 KiB  done
dave   direct host/tcp    0%    0/2.0 KiB  offered
total                    50%  2.0/4.0 KiB  1 of 2 done
`},
		{"a name that takes more than a byte a letter, on a narrow terminal", []daemon.Transfer{
			{Peer: daemon.PeerRef{Name: "Zoë"}, State: daemon.StateOffered, Size: 1},
			{Peer: daemon.PeerRef{Name: "dave"}, State: daemon.StateOffered, Size: 1},
		}, true, 20, `
Zoë    [............
dave   [............
total  [............
`},
	} {
		want := strings.TrimPrefix(c.want, "\n")
		if got := strings.Join(progressLines(c.list, c.bars, c.limit), "\n") + "\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, want)
		}
	}
}

// TestProgressIsShown: elsewhere than on a terminal a line is not repeated; on one all lines are rewritten in place, and none wraps.
func TestProgressIsShown(t *testing.T) {
	waiting := daemon.Transfer{Peer: daemon.PeerRef{Name: "phone"}, State: daemon.StateOffered, Size: 1}
	gone := daemon.Transfer{Peer: daemon.PeerRef{Name: "desk"}, State: daemon.StateDone, Size: 1, Bytes: 1}
	var out strings.Builder
	p := &progress{w: &out, every: time.Second}
	p.show(waiting)
	p.show(waiting)
	p.end()
	if got, want := out.String(), "phone  0%  0/1 B  offered\n"; got != want {
		t.Errorf("to a file: %q, want %q", got, want)
	}
	out.Reset()
	p.show(waiting, gone)
	p.show(gone, gone)
	if got, want := out.String(), "phone    0%  0/1 B  offered\ndesk   100%  1/1 B  done\ntotal   50%  1/2 B  1 of 2 done\n"+
		"desk   100%  1/1 B  done\ntotal  100%  2/2 B  2 of 2 done\n"; got != want {
		t.Errorf("two to a file: %q, want %q", got, want)
	}
	out.Reset()
	p = &progress{w: &out, width: func() int { return 16 }}
	p.show(waiting)
	p.end()
	if got, want := out.String(), "\r\033[Kphone  [.......\n"; got != want {
		t.Errorf("on a terminal of 16 columns: %q, want %q", got, want)
	}
	out.Reset()
	p = &progress{w: &out, width: func() int { return 16 }}
	p.show(waiting, waiting)
	p.show(waiting, waiting)
	line := "\r\033[Kphone  [......."
	three := line + "\n" + line + "\n" + "\r\033[Ktotal  [......."
	if got, want := out.String(), three+"\033[2A"+three; got != want {
		t.Errorf("three lines on a terminal: %q, want %q", got, want)
	}
}
