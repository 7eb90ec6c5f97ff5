package testnet

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"traverse.internal/core/portmap"
	"traverse.internal/internal/netlab"
)

// house is a customer's network with both families: IPv4 behind a symmetric NAT, IPv6 behind a firewall that lets in what was asked from
// inside. Its router runs miniupnpd, which is what most routers at homes map ports with.
type house struct {
	*Site
	addr4, addr6 netip.Addr // of the host
	second6      netip.Addr // of the host, which it prefers less
	dir          string
	serves       portmap.How
	daemon       *exec.Cmd
	said         *heard
}

// heard keeps the end of what a program says, and tells when it has said a word.
type heard struct {
	tail
	word string
	once sync.Once
	now  chan struct{}
}

func (h *heard) Write(b []byte) (int, error) {
	n, err := h.tail.Write(b)
	if strings.Contains(h.String(), h.word) {
		h.once.Do(func() { close(h.now) })
	}
	return n, err
}

// houseRules are the router's. miniupnpd fills the chains with its name, and nothing else comes in uninvited.
const houseRules = `
table inet filter {
	chain miniupnpd {}
	chain prerouting_miniupnpd {}
	chain postrouting_miniupnpd {}
	chain in {
		type nat hook prerouting priority dstnat;
		jump prerouting_miniupnpd
	}
	chain out {
		type nat hook postrouting priority srcnat;
		jump postrouting_miniupnpd
		oifname eth0 meta nfproto ipv4 masquerade random
	}
	chain local {
		type filter hook input priority filter;
		meta l4proto ipv6-icmp accept
		iifname eth0 ct state new drop
		%s
	}
	chain through {
		type filter hook forward priority filter;
		ct state established,related accept
		jump miniupnpd
		iifname eth0 drop
	}
}
`

// deaf says what a router does not hear that is to be asked in another way: miniupnpd cannot be told to leave out PCP alone, and speaks it over
// IPv6 whatever it was told.
var deaf = map[portmap.How]string{
	portmap.NATPMP: "udp dport 5351 @th,64,8 2 drop",
	portmap.UPnP:   "udp dport 5351 reject",
}

// house makes one whose router is asked in one way alone.
func (w *world) house(t *testing.T, how portmap.How) *house {
	t.Helper()
	if _, err := exec.LookPath("miniupnpd"); err != nil {
		t.Skip("MISSING: miniupnpd, of miniupnpd-nftables, as the router")
	}
	h := &house{Site: w.Site(t, Mapping, 1), dir: t.TempDir(), serves: how}
	n, device := w.sites, h.Hosts[0]
	h.addr4 = h.Addrs[0][0]
	inside := fmt.Sprintf("2a00:0:1:%x::", n)
	h.addr6, h.second6 = netip.MustParseAddr(inside+"10"), netip.MustParseAddr(inside+"11")
	batch := func(at *netlab.Host, lines ...string) {
		at.Feed(t, strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
	}
	batch(w.core, fmt.Sprintf("addr add 2a00:0:0:%x::1/64 dev site%d nodad", n, n), fmt.Sprintf("route add %s/64 via 2a00:0:0:%x::2", inside, n))
	batch(h.Router,
		fmt.Sprintf("addr add 2a00:0:0:%x::2/64 dev eth0 nodad", n), fmt.Sprintf("route add ::/0 via 2a00:0:0:%x::1", n),
		"addr add "+inside+"1/64 dev lan nodad", "addr add fe80::1/64 dev lan nodad")
	// The second address is deprecated, as those of yesterday are: the kernel takes the first one for what begins here.
	batch(device,
		"addr add "+h.addr6.String()+"/64 dev eth0 nodad", "addr add "+h.second6.String()+"/64 dev eth0 nodad preferred_lft 0",
		"route add ::/0 via fe80::1 dev eth0")
	h.Router.Run(t, "nft", "flush", "ruleset")
	h.Router.Feed(t, fmt.Sprintf(houseRules, deaf[how]), "nft", "-f", "-")
	h.boot(t)
	t.Cleanup(func() { h.halt(t) })
	return h
}

// boot starts the router's daemon.
func (h *house) boot(t *testing.T) {
	t.Helper()
	yes := map[bool]string{true: "yes", false: "no"}
	conf := filepath.Join(h.dir, "miniupnpd.conf")
	text := "ext_ifname=eth0\next_ifname6=eth0\nlistening_ip=lan\nhttp_port=5000\nsecure_mode=yes\nuuid=5d8c7e9a-0000-4000-8000-000000000001\n" +
		"min_lifetime=1\nenable_natpmp=" + yes[h.serves != portmap.UPnP] + "\nenable_upnp=" + yes[h.serves == portmap.UPnP] + "\n" +
		"allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.said = &heard{word: "istening ", now: make(chan struct{})}
	h.daemon = exec.Command("miniupnpd", "-d", "-f", conf, "-P", filepath.Join(h.dir, "pid"))
	h.daemon.Stderr, h.daemon.Stdout = h.said, h.said
	h.Router.Start(t, h.daemon)
	select {
	case <-h.said.now:
	case <-time.After(10 * time.Second):
		t.Fatalf("miniupnpd does not listen: %s", h.said)
	}
}

// halt ends it, as a power cut does, and takes its mappings.
func (h *house) halt(t *testing.T) {
	t.Helper()
	_ = h.daemon.Process.Kill()
	_ = h.daemon.Wait()
	for _, chain := range []string{"miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"} {
		h.Router.Run(t, "nft", "flush", "chain", "inet", "filter", chain)
	}
}

// outside is the address where a port that is led is found.
func (h *house) outside(p port) netip.Addr {
	if p.V6 {
		return h.addr6
	}
	return h.Outside
}

// rules are those that miniupnpd has made for a port: how many lines say its number.
func (h *house) rules(t *testing.T, port uint16) int {
	t.Helper()
	said := h.Router.Run(t, "nft", "-n", "list", "chain", "inet", "filter", "miniupnpd") +
		h.Router.Run(t, "nft", "-n", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
	return strings.Count(said, fmt.Sprintf("dport %d ", port))
}

// forgets waits until nothing is left of a port. miniupnpd 2.3.1 refuses to end a pinhole that PCP made: that one ends by its time, which we make a second.
func (h *house) forgets(t *testing.T, p port) {
	t.Helper()
	tries := time.NewTicker(100 * time.Millisecond)
	defer tries.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tries.C {
		n := h.rules(t, p.Port)
		if n == 0 {
			return
		}
		if !p.V6 || h.serves != portmap.PCP || time.Now().After(end) {
			t.Errorf("%v: %d rules were left at the router\n%s", p, n, h.said)
			return
		}
	}
}

// regains waits until the ports of IPv4 are led again by a router that was started anew and has said so: nobody asks the device to look. Over IPv6 miniupnpd 2.3.1 tells
// nobody.
func (h *house) regains(t *testing.T, ports []port) {
	t.Helper()
	tries := time.NewTicker(100 * time.Millisecond)
	defer tries.Stop()
	for end := time.Now().Add(patience); ; <-tries.C {
		left := 0
		for _, p := range ports {
			if !p.V6 && h.rules(t, p.Port) == 0 {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("the router's announcement was not heard: %d of %d ports are not led\n%s", left, len(ports), h.said)
			return
		}
	}
}
