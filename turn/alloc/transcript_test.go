package alloc

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTranscripts replays testdata/*.txt: each line is one call, and after "->" what it must return.
func TestTranscripts(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.txt")
	if len(paths) == 0 {
		t.Fatal("no transcripts")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { replay(t, path) })
	}
}

var begin = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// stage is the state that a transcript acts on.
type stage struct {
	now    time.Time
	table  *Table
	ledger *Ledger
	named  map[string]*Allocation
}

func replay(t *testing.T, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	limits := Limits{Allocations: 5, PerUser: 2, PerSource: 3, Permissions: 4, Channels: 4, Conns: 3}
	s := &stage{now: begin, table: NewTable(limits, begin), ledger: NewLedger(limits), named: make(map[string]*Allocation)}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		call, want, _ := strings.Cut(line, "->")
		want = strings.TrimSpace(want)
		if got := s.do(strings.Fields(call)); got != want {
			t.Errorf("%s:%d: %s: got %q, want %q", path, n, strings.TrimSpace(call), got, want)
		}
	}
}

func (s *stage) do(f []string) string {
	opts := options(f)
	switch f[0] {
	case "at":
		d, _ := time.ParseDuration(f[1])
		s.now = begin.Add(d)
		return ""
	case "insert":
		return s.insert(f[1], opts)
	case "lookup":
		if s.table.Lookup(tupleOf(f[1])) == nil {
			return "none"
		}
		return "present"
	case "refresh":
		seconds, _ := strconv.Atoi(f[2])
		return strconv.Itoa(int(s.table.Refresh(s.now, s.named[f[1]], uint32(seconds)).Seconds()))
	case "refresh-half":
		seconds, _ := strconv.Atoi(f[3])
		return strconv.Itoa(int(s.table.RefreshHalf(s.now, s.named[f[1]], f[2] == "4", uint32(seconds)).Seconds()))
	case "end-half":
		return strconv.FormatBool(s.table.EndHalf(s.named[f[1]], f[2] == "4"))
	case "serves":
		return strconv.FormatBool(s.named[f[1]].Serves(f[2] == "4"))
	case "move":
		return s.table.Move(s.named[f[1]], tupleOf(f[2])).String()
	case "arrive":
		s.table.Arrive(s.named[f[1]])
		return ""
	case "stay":
		s.table.Stay(s.named[f[1]])
		return ""
	case "curtail":
		d, _ := time.ParseDuration(f[2])
		s.table.Curtail(s.named[f[1]], s.now.Add(d))
		return ""
	case "all":
		var out []string
		for a := range s.table.All {
			out = append(out, a.Handle.(string))
		}
		return orNothing(out)
	case "left":
		return strconv.Itoa(int(s.named[f[1]].Remaining(s.now)))
	case "remove":
		return s.ended(Ended{Conns: s.table.Remove(s.named[f[1]])})
	case "expire":
		return s.ended(s.table.Expire(s.now))
	case "permit", "channel", "up", "down":
		return s.relay(f)
	case "dial", "connected", "accept", "bind", "hangup":
		return s.connection(f, opts)
	default:
		return s.account(f)
	}
}

func (s *stage) insert(name string, opts map[string]string) string {
	life, _ := strconv.Atoi(opts["life"])
	relayed := netip.MustParseAddrPort("192.0.2.1:50000")
	if opts["relayed"] != "" {
		relayed = netip.MustParseAddrPort(opts["relayed"])
	}
	var second netip.AddrPort
	if opts["second"] != "" {
		second = netip.MustParseAddrPort(opts["second"])
	}
	a, verdict := s.table.Insert(s.now, New{Tuple: tupleOf(name), User: opts["user"], Relayed: relayed, Second: second, Lifetime: uint32(life), Handle: name})
	if verdict != OK {
		return verdict.String()
	}
	s.named[name] = a
	return strconv.Itoa(int(a.Remaining(s.now)))
}

func (s *stage) relay(f []string) string {
	a := s.named[f[1]]
	switch f[0] {
	case "permit":
		var peers []netip.Addr
		for text := range strings.SplitSeq(f[2], ",") {
			peers = append(peers, netip.MustParseAddr(text))
		}
		return s.table.Permit(s.now, a, peers).String()
	case "channel":
		number, _ := strconv.ParseUint(f[2], 0, 16)
		return s.table.BindChannel(s.now, a, uint16(number), addrPort(f[3])).String()
	case "up":
		number, _ := strconv.ParseUint(f[2], 0, 16)
		peer, bound, permitted := a.Uplink(s.now, uint16(number))
		switch {
		case !bound:
			return "unbound"
		case !permitted:
			return "denied"
		}
		return peer.String()
	default:
		number, permitted := a.Downlink(s.now, addrPort(f[2]))
		switch {
		case !permitted:
			return "denied"
		case number == 0:
			return "data"
		}
		return fmt.Sprintf("%#x", number)
	}
}

func (s *stage) connection(f []string, opts map[string]string) string {
	a, peer := s.named[f[1]], addrPort(f[2])
	id, _ := strconv.Atoi(opts["id"])
	c := a.conns[peer]
	var verdict Verdict
	switch f[0] {
	case "dial":
		_, verdict = s.table.Dial(a, peer)
	case "accept":
		_, verdict = s.table.Accepted(s.now, a, peer, uint32(id))
	case "connected":
		s.table.Connected(s.now, c, uint32(id))
		return ""
	case "hangup":
		s.table.RemoveConn(c)
		s.table.RemoveConn(c)
		return ""
	case "bind":
		server := a.Tuple.Server
		if opts["server"] != "" {
			server = netip.MustParseAddrPort(opts["server"])
		}
		if c == nil {
			c = &Conn{State: Closed}
		}
		verdict = s.table.BindConn(c, opts["user"], server)
	}
	return verdict.String()
}

func (s *stage) account(f []string) string {
	switch f[0] {
	case "admit":
		n, _ := strconv.Atoi(f[3])
		return s.ledger.Admit(f[1], netip.MustParseAddr(f[2]), n).String()
	case "leave":
		s.ledger.Leave(f[1], netip.MustParseAddr(f[2]))
		return ""
	case "reserve":
		s.ledger.Reserve(s.now, Token{f[1][0]}, Reservation{User: f[2], Client: netip.MustParseAddr(f[3]), Addr: netip.MustParseAddrPort(f[4])})
		return ""
	case "redeem":
		r, ok := s.ledger.Redeem(s.now, Token{f[1][0]}, f[2])
		if !ok {
			return "none"
		}
		return r.Addr.String()
	case "expire-reservations":
		var out []string
		for _, r := range s.ledger.Expire(s.now) {
			out = append(out, r.Addr.String())
		}
		return orNothing(out)
	}
	return "unknown call " + f[0]
}

func (s *stage) ended(e Ended) string {
	var out []string
	for _, c := range e.Conns {
		out = append(out, c.Peer.String())
	}
	for _, h := range e.Halves {
		out = append(out, h.Addr.String())
	}
	for _, a := range e.Allocations {
		out = append(out, a.Handle.(string))
	}
	return orNothing(out)
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func options(fields []string) map[string]string {
	opts := make(map[string]string)
	for _, f := range fields {
		if key, value, ok := strings.Cut(f, "="); ok {
			opts[key] = value
		}
	}
	return opts
}

// tupleOf gives each name a client address of its own.
func tupleOf(name string) FiveTuple {
	return FiveTuple{
		Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, name[0]}), 1000),
		Server: netip.MustParseAddrPort("192.0.2.1:3478"),
	}
}

// addrPort also takes an IPv6 address without brackets.
func addrPort(text string) netip.AddrPort {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap
	}
	i := strings.LastIndexByte(text, ':')
	port, _ := strconv.Atoi(text[i+1:])
	return netip.AddrPortFrom(netip.MustParseAddr(text[:i]), uint16(port))
}
