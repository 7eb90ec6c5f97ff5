package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"traverse.internal/config"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
)

// Doctor is what `doctor` prints.
type Doctor struct {
	cli.Envelope
	Findings []Finding `json:"findings"`
	Warnings int       `json:"warnings"`
	Failures int       `json:"failures"`
}

// Finding is one thing that was looked at.
type Finding struct {
	Check string `json:"check"`
	Level string `json:"level"` // ok, warning or failure
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"` // the command or the setting that mends it
}

// Levels of a Finding.
const (
	LevelOK      = "ok"
	LevelWarning = "warning"
	LevelFailure = "failure"
)

// machine is what the kernel tells; the zero value of a field means that it does not.
type machine struct {
	files                   uint64 // descriptors that a program may have
	clockKnown, clockSynced bool
	conntrack, conntrackMax uint64
	rmemMax                 uint64 // bytes that a socket may ask to buffer
	diskKnown               bool
	diskFree                uint64
}

// What is enough. A session has a descriptor or two, an allocation of the relay a client's and a relayed socket.
const (
	nodeFiles     = 1024
	relayFiles    = 2       // per allocation
	enoughRmem    = 1 << 20 // of net.core.rmem_max
	nearExpiry    = 14 * 24 * time.Hour
	conntrackWarn = 80 // percent of nf_conntrack_max
	conntrackFail = 95
)

// Examine looks at the machine, the home and, where it runs, the daemon.
func Examine(ctx context.Context, h Home, c config.Config) Doctor {
	x := Doctor{Envelope: envelope("doctor"), Findings: []Finding{}}
	downloads := c.Node.DownloadDir
	if downloads == "" {
		downloads = h.Downloads
	}
	x.machine(readMachine(downloads), c)
	x.files(h, c)
	client := NewClient(h.Socket)
	status, err := client.Status(ctx)
	if err != nil {
		x.add("daemon", LevelWarning, "the node is not running, so that DHT and relays were not looked at", "node up")
		x.ports(c)
		x.account(h)
		return x
	}
	x.add("daemon", LevelOK, "the node is running", "")
	x.node(status)
	n, err := client.Netcheck(ctx)
	if err != nil {
		x.add("network", LevelFailure, "the node did not look at its network: "+cli.OneLine(err.Error()), "node netcheck --timeout 2m")
		return x
	}
	x.network(n)
	return x
}

func (x *Doctor) add(check, level, what, fix string) {
	switch level {
	case LevelWarning:
		x.Warnings++
	case LevelFailure:
		x.Failures++
	}
	x.Findings = append(x.Findings, Finding{check, level, what, fix})
}

// machine judges what the kernel told.
func (x *Doctor) machine(m machine, c config.Config) {
	need := uint64(nodeFiles)
	if c.Turnd.Enabled {
		need += relayFiles * uint64(c.Turnd.Limits.Allocations)
	}
	if m.files > 0 {
		what := fmt.Sprintf("%d descriptors allowed, %d needed", m.files, need)
		if m.files < need {
			x.add("descriptors", LevelWarning, what, fmt.Sprintf("ulimit -n %d; in a systemd unit LimitNOFILE=%d", need, need))
		} else {
			x.add("descriptors", LevelOK, what, "")
		}
	}
	switch {
	case m.clockKnown && !m.clockSynced:
		x.add("clock", LevelWarning, "the kernel says that nothing keeps the clock right", "timedatectl set-ntp true")
	case m.clockKnown:
		x.add("clock", LevelOK, "the clock is kept right", "")
	}
	if m.conntrackMax > 0 {
		what := fmt.Sprintf("%d of %d connections are tracked", m.conntrack, m.conntrackMax)
		fix := fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 2*m.conntrackMax)
		switch percent := m.conntrack * 100 / m.conntrackMax; {
		case percent >= conntrackFail:
			x.add("conntrack", LevelFailure, what, fix)
		case percent >= conntrackWarn:
			x.add("conntrack", LevelWarning, what, fix)
		default:
			x.add("conntrack", LevelOK, what, "")
		}
	}
	if m.rmemMax > 0 {
		what := fmt.Sprintf("UDP sockets may buffer %d KiB", m.rmemMax>>10)
		if m.rmemMax < enoughRmem {
			x.add("udp buffers", LevelWarning, what, fmt.Sprintf("sysctl -w net.core.rmem_max=%d", 4*enoughRmem))
		} else {
			x.add("udp buffers", LevelOK, what, "")
		}
	}
	if m.diskKnown {
		what := fmt.Sprintf("%d MiB are free for received files, %d MiB must stay free", m.diskFree>>20, uint64(c.Transfer.MinFree)>>20)
		if m.diskFree <= uint64(c.Transfer.MinFree) {
			x.add("disk", LevelFailure, what, "free some, or set transfer.min_free or node.download_dir")
		} else {
			x.add("disk", LevelOK, what, "")
		}
	}
}

// files judges who may read the home and the secrets.
func (x *Doctor) files(h Home, c config.Config) {
	if _, err := os.Stat(filepath.Join(h.Identity)); errors.Is(err, fs.ErrNotExist) {
		x.add("identity", LevelFailure, "there is no identity in "+h.Identity, "node init")
	} else {
		x.private("identity", h.Identity)
	}
	x.private("home", h.State)
	for _, r := range c.Relays {
		if r.PasswordFile != "" {
			x.private("secret", r.PasswordFile)
		}
	}
}

// private judges a file or folder that nobody else shall read.
func (x *Doctor) private(check, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		x.add(check, LevelFailure, cli.OneLine(err.Error()), "")
		return
	case runtime.GOOS == "windows": // permissions are not mode bits there
		return
	}
	mode, forbidden, right := info.Mode().Perm(), fs.FileMode(0o077), "600"
	if info.IsDir() {
		right = "700"
	}
	if check == "home" {
		forbidden = 0o022 // what is secret in it has its own mode
	}
	what := fmt.Sprintf("%s has mode %04o", path, mode)
	if mode&forbidden != 0 {
		x.add(check, LevelFailure, what+": others may use it", fmt.Sprintf("chmod %s '%s'", right, path))
		return
	}
	x.add(check, LevelOK, what, "")
}

// node hands on what the node itself warns of.
func (x *Doctor) node(s Status) {
	for _, line := range s.Warnings {
		check, rest, _ := strings.Cut(line, ": ")
		what, fix, _ := strings.Cut(rest, "; ")
		switch check {
		case "clock": // network says it, too
		case "identity":
			x.add(check, LevelFailure, what, fix)
		default:
			x.add(check, LevelWarning, what, fix)
		}
	}
}

// account looks at the device list where no node runs to look at it.
func (x *Doctor) account(h Home) {
	c, err := LoadContacts(h)
	if err != nil {
		x.add("contacts", LevelFailure, cli.OneLine(err.Error()), "node contact ls says what is wrong")
		return
	}
	own, _ := c.Own()
	_, err = identity.LoadAccount(h.Identity)
	if w := accountWarning(own.list, err == nil, time.Now()); w != nil {
		x.add(w.check, w.level, w.what, w.fix)
	}
}

// ports tries what a node that starts would listen on.
func (x *Doctor) ports(c config.Config) {
	for _, at := range c.Node.Listen {
		if at.Port() != 0 {
			l, err := net.Listen("tcp", hostPort(at))
			if err == nil {
				l.Close()
			}
			x.port("tcp", at, err)
		}
	}
	if at := c.DHT.Listen; at.Port() != 0 {
		l, err := net.ListenPacket("udp", hostPort(at))
		if err == nil {
			l.Close()
		}
		x.port("udp", at, err)
	}
}

func (x *Doctor) port(network string, at netip.AddrPort, err error) {
	what := fmt.Sprintf("%s port %d", network, at.Port())
	if err != nil {
		x.add("port", LevelFailure, what+" cannot be used: "+cli.OneLine(err.Error()), fmt.Sprintf("ss -lnp 'sport = :%d'", at.Port()))
		return
	}
	x.add("port", LevelOK, what+" is free", "")
}

// hostPort is an address as net has it: an invalid one means every interface.
func hostPort(at netip.AddrPort) string {
	if !at.Addr().IsValid() {
		return fmt.Sprintf(":%d", at.Port())
	}
	return at.String()
}

// network judges what a netcheck found.
func (x *Doctor) network(n Netcheck) {
	if n.DHT.Nodes == 0 {
		x.add("dht", LevelWarning, "no node of the DHT is known", "node netcheck; see dht.bootstrap, and that UDP leaves this network")
	} else {
		x.add("dht", LevelOK, fmt.Sprintf("%d nodes of the DHT are known", n.DHT.Nodes), "")
	}
	for _, r := range n.Relays {
		x.relay(r, n.Time)
	}
	if n.Clock.Refused > 0 {
		x.add("clock", LevelWarning, fmt.Sprintf("%d messages of contacts were refused for their time", n.Clock.Refused), "timedatectl set-ntp true, here and there")
	}
}

func (x *Doctor) relay(r NetcheckRelay, now time.Time) {
	switch {
	case !r.TCP:
		x.add("relay", LevelFailure, r.URL+" does not answer: "+r.Error, "turnd check '"+r.URL+"'")
	default:
		x.add("relay", LevelOK, r.URL+" answers", "")
	}
	if r.Expires == nil {
		return
	}
	what := fmt.Sprintf("the certificate of %s ends %s", r.URL, r.Expires.UTC().Format(time.RFC3339))
	switch left := r.Expires.Sub(now); {
	case left <= 0:
		x.add("certificate", LevelFailure, what, "renew it there, then: turnd reload")
	case left < nearExpiry:
		x.add("certificate", LevelWarning, what, "renew it there, then: turnd reload")
	default:
		x.add("certificate", LevelOK, what, "")
	}
}
