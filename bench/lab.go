package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// As root, the bench moves to an empty network of its own, and gives every relay a machine of its own, a second namespace at
// the other end of a veth. Both end with their processes: there is nothing to clean up, and nobody else's packets are there.

// insideArg is the argument of the bench that is in its own network, insideEnv says what it does not have to find out again.
const insideEnv = "TRAVERSE_BENCH_INSIDE"

// The families, as indices.
const (
	v4 = iota
	v6
)

// A host is the machine of one relay, and the addresses at both ends of its cable.
type host struct {
	ns    *os.File // nil: this machine, over loopback
	n     int
	dev   string // here
	index int    // of dev

	relay  [2]netip.Addr // there
	client [2]netip.Addr // here
	sink   [2]netip.Addr // peers here whose datagrams are counted and dropped at the door
	peer   [2]netip.Addr // peers here that have sockets

	card [2]netip.Addr // of the interface by which a card's frames come in

	counted *sinkhole // nil: by rules of nftables, where there is no tcx
	in      *card     // nil: where there are no taps, noCard says why
	noCard  error
}

var loopback = &host{
	relay:  [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	client: [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	peer:   [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
}

// enter runs the bench once more in a network of its own, and returns its exit code; false where it has to stay here.
func enter(args []string, turnd string) (code int, entered bool, why string) {
	if os.Getuid() != 0 {
		return 0, false, "not root: no network of its own, everything over loopback, and no rows that need more"
	}
	for _, name := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			return 0, false, name + " is not installed: no network of its own, everything over loopback, and no rows that need more"
		}
	}
	self, err := os.Executable()
	if err != nil {
		return 0, false, err.Error()
	}
	runtime.LockOSThread() // whose death the child would follow
	defer runtime.UnlockOSThread()
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), insideEnv+"="+turnd)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGTERM}
	if err := cmd.Start(); err != nil {
		return 0, false, "no right to make a network: everything over loopback, and no rows that need more"
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return 1, true, ""
	}
	return cmd.ProcessState.ExitCode(), true, ""
}

// newHost makes the n-th machine.
func newHost(n int) (*host, error) {
	h := &host{n: n, dev: fmt.Sprintf("relay%d", n)}
	at := func(last int) [2]netip.Addr {
		return [2]netip.Addr{
			netip.AddrFrom4([4]byte{10, 77, byte(n), byte(last)}),
			netip.MustParseAddr(fmt.Sprintf("fd77:%x::%x", n, last)),
		}
	}
	h.client, h.sink, h.peer, h.relay, h.card = at(1), at(2), at(3), at(10), at(11)
	if err := away(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a namespace: %w", err)
		}
		var err error
		if h.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return command("ip", "link", "set", "lo", "up")
	}); err != nil {
		return nil, err
	}
	cable := exec.Command("ip", "link", "add", h.dev, "address", h.mac(1), "type", "veth", "peer", "name", "eth0", "address", h.mac(2), "netns", "/proc/self/fd/3")
	cable.ExtraFiles = []*os.File{h.ns}
	if out, err := cable.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("lay a cable: %w: %s", err, out)
	}
	here := h.script(h.dev, []netip.Addr{h.client[v4], h.sink[v4], h.peer[v4]}, []netip.Addr{h.client[v6], h.sink[v6], h.peer[v6]},
		[]netip.Addr{h.relay[v4], h.relay[v6]}, h.mac(2))
	there := h.script("eth0", h.relay[v4:v6], h.relay[v6:],
		[]netip.Addr{h.client[v4], h.sink[v4], h.peer[v4], h.client[v6], h.sink[v6], h.peer[v6]}, h.mac(1)) +
		fmt.Sprintf("route add %s via %v dev eth0\n", spoofed, h.client[v4])
	if err := ipBatch(here); err != nil {
		return nil, err
	}
	if err := inside(h.ns, func() error { return ipBatch(there) }); err != nil {
		return nil, err
	}
	dev, err := net.InterfaceByName(h.dev)
	if err != nil {
		return nil, err
	}
	h.index = dev.Index
	if h.in, h.noCard = newCard(h); h.noCard != nil {
		h.in = nil
	}
	if s, err := newSinkhole(h); err == nil {
		if err = s.attach(h.index); err == nil {
			h.counted = s
			return h, nil
		}
		s.close()
	}
	return h, h.rules()
}

func (h *host) mac(end int) string { return fmt.Sprintf("02:77:00:00:%02x:%02x", h.n, end) }

// spoofed is the network of senders who do not exist.
const spoofed = "10.78.0.0/16"

// script is what brings one end of the cable up, in the notation of ip -batch. Neighbours are known from the start.
func (h *host) script(dev string, ip4, ip6, others []netip.Addr, mac string) string {
	var s strings.Builder
	for _, a := range ip4 {
		fmt.Fprintf(&s, "addr add %v/24 dev %s\n", a, dev)
	}
	for _, a := range ip6 {
		fmt.Fprintf(&s, "addr add %v/64 dev %s nodad\n", a, dev)
	}
	fmt.Fprintf(&s, "link set %s up\n", dev)
	for _, a := range others {
		fmt.Fprintf(&s, "neigh replace %v lladdr %s dev %s nud permanent\n", a, mac, dev)
	}
	return s.String()
}

// rules are what a sink is, where there is none.
func (h *host) rules() error {
	var s strings.Builder
	fmt.Fprintf(&s, "table netdev bench%d {\n counter up {}\n counter down {}\n chain door {\n  type filter hook ingress device %q priority 0;\n", h.n, h.dev)
	fmt.Fprintf(&s, "  ip daddr %v meta l4proto udp counter name up drop\n", h.sink[v4])
	fmt.Fprintf(&s, "  ip6 daddr %v meta l4proto udp counter name up drop\n", h.sink[v6])
	fmt.Fprintf(&s, "  ip saddr %v meta l4proto udp @th,64,2 1 counter name down drop\n", h.relay[v4])
	fmt.Fprintf(&s, "  ip6 saddr %v meta l4proto udp @th,64,2 1 counter name down drop\n", h.relay[v6])
	fmt.Fprintf(&s, "  ip daddr %s drop\n }\n}\n", spoofed)
	return feed(s.String(), "nft", "-f", "-")
}

// door is how many datagrams the sink has counted, and their bytes without headers of IP and UDP but once a train.
func (h *host) door(up bool) (packets, octets int64, err error) {
	if h.counted != nil {
		return h.counted.read(up)
	}
	name := "down"
	if up {
		name = "up"
	}
	out, err := exec.Command("nft", "list", "counter", "netdev", fmt.Sprintf("bench%d", h.n), name).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("read the door's counter: %w", err)
	}
	words := strings.Fields(string(out))
	for i, w := range words {
		if w == "packets" && i+3 < len(words) {
			packets, err = strconv.ParseInt(words[i+1], 10, 64)
			octets, _ = strconv.ParseInt(words[i+3], 10, 64)
			return packets, octets, err
		}
	}
	return 0, 0, fmt.Errorf("no counter in %q", out)
}

// trains says whether the relay's interface takes several datagrams as one (hardware that cuts them), or the kernel cuts them
// on the relay's time.
func (h *host) trains(on bool) error {
	value := "off"
	if on {
		value = "on"
	}
	return inside(h.ns, func() error { return command("ethtool", "-K", "eth0", "tx-udp-segmentation", value) })
}

// away runs f on a thread that may change its namespace, and comes back.
func away(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("come back to the namespace: %w", back)) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// inside runs f in a namespace; nil is this one.
func inside(ns *os.File, f func() error) error {
	if ns == nil {
		return f()
	}
	return away(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("go to a namespace: %w", err)
		}
		return f()
	})
}

func command(name string, args ...string) error { return feed("", name, args...) }

func ipBatch(script string) error { return feed(script, "ip", "-batch", "-") }

// feed runs a command with an input.
func feed(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
