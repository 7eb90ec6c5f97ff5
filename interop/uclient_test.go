package interop

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"traverse.internal/internal/loopback"
)

// coturn's client in its modes, against our server and coturn's peer. Its exit code is 0 even when everything is lost, so what
// it counted is read. All run at once: the tool spends its seconds waiting.
//
// Over TLS on an overloaded machine (load 28 on two cores) it lost 2 of 40 while the server dropped nothing; the cause is not
// known. There it has three tries, and a loss is logged.
//
// Two of its modes say nothing about a server. -P counts the packets of both its ends and receives those of one: 20 of 40 are
// lost with coturn's server as with ours. -Z asks for one family (4.6.1 sends no ADDITIONAL-ADDRESS-FAMILY) and then refreshes one of
// the two by chance, which is 443 by RFC 8656 §7.2 when it is the other.
func TestUclient(t *testing.T) {
	loopback.Need(t, "coturn", "turnutils_uclient", "turnutils_peer")
	t.Parallel()
	s := serve(t)
	plain, secured := s.UDPAddrs()[0].Port(), s.DTLSAddrs()[0].Port()
	peer := strconv.Itoa(int(echoPeer(t)))
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server dropped: %v", s.Stats().Drops)
		}
	})
	modes := []struct {
		name    string
		args    []string
		secured bool
		peer6   bool
		server6 bool
	}{
		{name: "UDP"},
		{name: "UDP, Send indications", args: []string{"-s"}},
		{name: "UDP, IPv6 relay", args: []string{"-x"}, peer6: true},
		{name: "UDP, IPv6 server and relay", args: []string{"-x"}, peer6: true, server6: true},
		{name: "UDP, IPv6 server, IPv4 relay", args: []string{"-X"}, server6: true},
		{name: "UDP, client to client", args: []string{"-y"}},
		{name: "UDP, DONT-FRAGMENT", args: []string{"-g"}},
		{name: "UDP, mobility", args: []string{"-M"}},
		{name: "UDP, extra requests", args: []string{"-G"}},
		{name: "TCP", args: []string{"-t"}},
		{name: "TCP, Send indications", args: []string{"-t", "-s"}},
		{name: "TCP, IPv6 relay", args: []string{"-t", "-x"}, peer6: true},
		{name: "TCP, client to client", args: []string{"-t", "-y"}},
		{name: "TCP, mandatory padding", args: []string{"-t", "-D"}},
		{name: "TCP, mobility", args: []string{"-t", "-M"}},
		{name: "TLS", args: []string{"-t", "-S"}, secured: true},
		{name: "TLS, IPv6 server and relay", args: []string{"-t", "-S", "-x"}, secured: true, peer6: true, server6: true},
		{name: "DTLS", args: []string{"-S"}, secured: true},
		{name: "DTLS, Send indications", args: []string{"-S", "-s"}, secured: true},
		{name: "DTLS, IPv6 server and relay", args: []string{"-S", "-x"}, secured: true, peer6: true, server6: true},
		{name: "DTLS, client to client", args: []string{"-S", "-y"}, secured: true},
		{name: "DTLS, mobility", args: []string{"-S", "-M"}, secured: true},
		{name: "TCP allocations, active", args: []string{"-T"}},
		{name: "TCP allocations, client to client: active and passive", args: []string{"-T", "-y"}},
		{name: "TCP allocations over TLS", args: []string{"-T", "-S"}, secured: true},
	}
	outputs := make([]chan []byte, len(modes))
	for i, c := range modes {
		outputs[i] = make(chan []byte, 1)
		go func() {
			port, to, server := plain, "127.0.0.1", "127.0.0.1"
			if c.secured {
				port = secured
			}
			if c.peer6 {
				to = "::1"
			}
			if c.server6 {
				server = "::1"
			}
			args := append([]string{"-n", "20", "-m", "2", "-c"}, c.args...)
			args = append(args, "-u", "u", "-w", "p", "-e", to, "-r", peer, "-p", strconv.Itoa(int(port)), server)
			tries := 1
			if slices.Contains(c.args, "-t") && c.secured {
				tries = 3
			}
			var out []byte
			for try := range tries {
				cmd := exec.CommandContext(ctx, "turnutils_uclient", args...)
				loopback.EndWithUs(cmd)
				out, _ = cmd.CombinedOutput()
				lost, sent := loss(string(out))
				if lost == 0 {
					break
				}
				t.Logf("%s, try %d: lost %d of %d; the server dropped: %v", c.name, try+1, lost, sent, s.Stats().Drops)
			}
			outputs[i] <- out
		}()
	}
	for i, c := range modes {
		t.Run(c.name, func(t *testing.T) {
			out := <-outputs[i]
			if lost, sent := loss(string(out)); lost != 0 || sent <= 0 {
				t.Errorf("sent %d, lost %d:\n%s", sent, lost, out)
			}
		})
	}
}

// loss reads the tool's last totals; -1 when it printed none.
func loss(out string) (lost, sent int) {
	lost, sent = -1, -1
	for _, m := range regexp.MustCompile(`Total lost packets (\d+)`).FindAllStringSubmatch(out, -1) {
		lost, _ = strconv.Atoi(m[1])
	}
	for _, m := range regexp.MustCompile(`tot_send_msgs=(\d+)`).FindAllStringSubmatch(out, -1) {
		sent, _ = strconv.Atoi(m[1])
	}
	return lost, sent
}

// echoPeer runs coturn's echo server and returns its port.
func echoPeer(t *testing.T) uint16 {
	t.Helper()
	port := loopback.FreePort(t)
	loopback.Start(t, exec.Command("turnutils_peer", "-L", "127.0.0.1", "-L", "::1", "-p", strconv.Itoa(int(port))))
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback.IP4, port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for end := time.Now().Add(patience); ; {
		_, _ = conn.Write([]byte("x"))
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 10)); err == nil && n == 1 {
			return port
		}
		if time.Now().After(end) {
			t.Fatal("turnutils_peer does not echo")
		}
	}
}
