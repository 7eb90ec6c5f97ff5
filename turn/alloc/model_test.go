package alloc

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestModel runs random calls on a table and on an oracle, which is a list of facts with their ends and no cleverness: no
// wheel, no sweeping, no shared counters. A failure names its seed.
func TestModel(t *testing.T) {
	for seed := range uint64(40) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { newModel(t, seed).run(400) }) {
			return
		}
	}
}

const (
	modelNames, modelPeers, modelNumbers = 6, 7, 6
	modelUsers                           = 2
)

var modelLimits = Limits{
	Allocations: 5, PerUser: 3, PerSource: 4, Permissions: 4, Channels: 3, Conns: 2,
	UserPermissions: 9, UserChannels: 6, SourcePermissions: 30, SourceChannels: 30, UserPeers: 60, SourcePeers: 600,
}

type fact struct {
	name    string
	user    string
	a       *Allocation
	expires time.Time
	permits map[netip.Addr]time.Time
	numbers map[uint16]binding
	conns   map[netip.AddrPort]*Conn
}

type binding struct {
	peer    netip.AddrPort
	expires time.Time
}

type model struct {
	t      *testing.T
	rand   *rand.Rand
	now    time.Time
	table  *Table
	ledger *Ledger
	facts  map[string]*fact
	met    map[string]float64 // new peers that a user may still meet
	log    []string
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: begin,
		table: NewTable(modelLimits, begin), ledger: NewLedger(modelLimits), facts: map[string]*fact{}, met: map[string]float64{},
	}
	m.ledger.Refill(m.now)
	return m
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	from := max(0, len(m.log)-12)
	m.t.Fatalf("%s\nafter %v", fmt.Sprintf(format, args...), m.log[from:])
}

func (m *model) run(steps int) {
	for range steps {
		m.step()
		m.compare()
	}
	for _, f := range m.facts {
		m.table.Remove(f.a)
		m.ledger.Leave(f.user, tupleOf(f.name).Client.Addr())
	}
	m.facts = map[string]*fact{}
	m.compare()
	m.ledger.Refill(m.now)
	m.ledger.Refill(m.now.Add(time.Hour))
	if len(m.ledger.users)+len(m.ledger.sources) > 0 || m.ledger.Total() != 0 {
		m.fail("accounts are left: %v, %v, total %d", m.ledger.users, m.ledger.sources, m.ledger.Total())
	}
}

func (m *model) step() {
	name := string(rune('a' + m.rand.IntN(modelNames)))
	f := m.facts[name]
	what := m.rand.IntN(12)
	m.log = append(m.log, fmt.Sprintf("%d %s at %v", what, name, m.now.Sub(begin)))
	switch {
	case what == 0:
		m.pass([]time.Duration{time.Second, 20 * time.Second, 100 * time.Second, 290 * time.Second, 11 * time.Minute}[m.rand.IntN(5)])
	case f == nil:
		m.insert(name)
	case what == 1:
		seconds := uint32(m.rand.IntN(4000))
		f.expires = m.now.Add(m.table.Refresh(m.now, f.a, seconds))
		if want := min(max(seconds, 600), 3600); f.a.Remaining(m.now) != want {
			m.fail("refresh by %d leaves %d, want %d", seconds, f.a.Remaining(m.now), want)
		}
	case what == 2:
		m.end(f, m.table.Remove(f.a))
	case what <= 5:
		m.permit(f)
	case what <= 8:
		m.bind(f)
	case what == 9:
		m.dial(f)
	case what == 10:
		m.revoke(f)
	default:
		for peer, c := range f.conns {
			m.table.RemoveConn(c)
			delete(f.conns, peer)
			break
		}
	}
}

func (m *model) pass(d time.Duration) {
	m.now = m.now.Add(d)
	m.ledger.Refill(m.now)
	for user := range m.met {
		m.met[user] = min(60, m.met[user]+min(d, time.Minute).Seconds())
	}
	ended := m.table.Expire(m.now)
	for _, a := range ended.Allocations {
		f := m.facts[a.Handle.(string)]
		if f == nil || m.now.Before(f.expires) {
			m.fail("%v ended before its time", a.Handle)
		}
		m.end(f, nil)
	}
	for _, f := range m.facts {
		if m.now.After(f.expires.Add(time.Second)) {
			m.fail("%s should have ended", f.name)
		}
	}
}

func (m *model) insert(name string) {
	user := fmt.Sprint("user", m.rand.IntN(modelUsers))
	client := tupleOf(name).Client.Addr()
	byUser := 0
	for _, f := range m.facts {
		if f.user == user {
			byUser++
		}
	}
	want := OK
	switch {
	case byUser >= modelLimits.PerUser:
		want = QuotaReached
	case len(m.facts) >= modelLimits.Allocations:
		want = InsufficientCapacity
	}
	if got := m.ledger.Admit(user, client, 1); got != want {
		m.fail("admit %s: %v, want %v", user, got, want)
	}
	if want != OK {
		return
	}
	a, verdict := m.table.Insert(m.now, New{Tuple: tupleOf(name), User: user, Relayed: netip.MustParseAddrPort("192.0.2.1:50000"), Held: m.ledger.Held(user, client), Handle: name})
	if verdict != OK {
		m.fail("insert: %v", verdict)
	}
	if _, there := m.met[user]; !there {
		m.met[user] = 60
	}
	m.facts[name] = &fact{name, user, a, m.now.Add(DefaultLifetime), map[netip.Addr]time.Time{}, map[uint16]binding{}, map[netip.AddrPort]*Conn{}}
	if _, again := m.table.Insert(m.now, New{Tuple: tupleOf(name), Relayed: a.Relayed}); again != Mismatch {
		m.fail("insert again: %v", again)
	}
}

func (m *model) end(f *fact, conns []*Conn) {
	if conns != nil && len(conns) != len(f.conns) {
		m.fail("%d connections ended, want %d", len(conns), len(f.conns))
	}
	m.ledger.Leave(f.user, tupleOf(f.name).Client.Addr())
	delete(m.facts, f.name)
}

func modelPeer(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}) }

// live counts the permissions that work now, without those of the list.
func (f *fact) live(now time.Time, without ...netip.Addr) (n int) {
	for ip, end := range f.permits {
		if now.Before(end) && !contains(without, ip) {
			n++
		}
	}
	return n
}

func (m *model) permit(f *fact) {
	var peers []netip.Addr
	for range 1 + m.rand.IntN(3) {
		peers = append(peers, modelPeer(m.rand.IntN(modelPeers)))
	}
	distinct := map[netip.Addr]bool{}
	for _, ip := range peers {
		distinct[ip] = true
	}
	before := f.a.Held[holdUser].peers.Left()
	switch got := m.table.Permit(m.now, f.a, peers); got {
	case OK:
		if n := f.live(m.now, peers...) + len(distinct); n > modelLimits.Permissions {
			m.fail("%d permissions of at most %d", n, modelLimits.Permissions)
		}
		for ip := range distinct {
			f.permits[ip] = m.now.Add(PermissionLifetime)
		}
	case InsufficientCapacity: // some of what ended may still count: for its channels, or another allocation's
		if m.held(f.user)+len(distinct) <= 4 && before >= 3*onePeer {
			m.fail("refused with %d held and %d peers left", m.held(f.user), before)
		}
		if f.a.Held[holdUser].peers.Left() != before {
			m.fail("a refusal was charged")
		}
	default:
		m.fail("permit: %v", got)
	}
}

// held counts what the table has of a user's permissions, ended or not.
func (m *model) held(user string) (n int) {
	for _, f := range m.facts {
		if f.user == user {
			n += len(f.a.permissions)
		}
	}
	return n
}

func (m *model) bind(f *fact) {
	number := uint16(MinChannel + m.rand.IntN(modelNumbers))
	peer := netip.AddrPortFrom(modelPeer(m.rand.IntN(modelPeers)), uint16(1+m.rand.IntN(2)))
	conflict, there, live := false, false, 0
	for n, b := range f.numbers {
		if !m.now.Before(b.expires) {
			continue
		}
		live++
		there = there || n == number && b.peer == peer
		conflict = conflict || (n == number) != (b.peer == peer)
	}
	got := m.table.BindChannel(m.now, f.a, number, peer)
	switch {
	case conflict != (got == BadRequest):
		m.fail("bind %#x to %v: %v, conflict %v", number, peer, got, conflict)
	case got == OK:
		if !there && live >= modelLimits.Channels {
			m.fail("%d channels of at most %d", live+1, modelLimits.Channels)
		}
		for n, b := range f.numbers { // an ended one makes room
			if n == number || b.peer == peer {
				delete(f.numbers, n)
			}
		}
		f.numbers[number] = binding{peer, m.now.Add(ChannelLifetime)}
		f.permits[peer.Addr()] = m.now.Add(PermissionLifetime)
	case got == InsufficientCapacity && there && m.now.Before(f.permits[peer.Addr()]):
		m.fail("no room to renew")
	}
}

func (m *model) dial(f *fact) {
	peer := netip.AddrPortFrom(modelPeer(m.rand.IntN(modelPeers)), 1)
	left := f.a.Held[holdUser].peers.Left()
	c, got := m.table.Dial(f.a, peer)
	want := OK
	switch {
	case f.conns[peer] != nil:
		want = ConnectionExists
	case left < onePeer || len(f.conns) >= modelLimits.Conns:
		want = InsufficientCapacity
	}
	if got != want {
		m.fail("dial: %v, want %v", got, want)
	}
	if got == OK {
		f.conns[peer] = c
	}
}

func (m *model) revoke(f *fact) {
	ip := modelPeer(m.rand.IntN(modelPeers))
	_, conns := m.table.Revoke(f.a, func(a netip.Addr) bool { return a == ip }, func(netip.AddrPort) bool { return false })
	delete(f.permits, ip)
	for n, b := range f.numbers {
		if b.peer.Addr() == ip {
			delete(f.numbers, n)
		}
	}
	for _, c := range conns {
		delete(f.conns, c.Peer)
	}
	if n := len(f.conns); n != len(f.a.conns) {
		m.fail("%d connections, want %d", len(f.a.conns), n)
	}
}

// compare asks the table everything that a packet could.
func (m *model) compare() {
	m.t.Helper()
	if m.table.Len() != len(m.facts) || m.ledger.Total() != len(m.facts) {
		m.fail("%d allocations, %d charged, want %d", m.table.Len(), m.ledger.Total(), len(m.facts))
	}
	permissions, channels := map[string]int{}, map[string]int{}
	for _, f := range m.facts {
		if m.table.Lookup(tupleOf(f.name)) != f.a {
			m.fail("%s is not found", f.name)
		}
		permissions[f.user] += len(f.a.permissions)
		channels[f.user] += len(f.a.byNumber)
		for i := range modelPeers {
			ip := modelPeer(i)
			want := m.now.Before(f.permits[ip])
			if got := f.a.Permitted(m.now, ip); got != want {
				m.fail("%s: %v permitted: %v, want %v", f.name, ip, got, want)
			}
			for port := range uint16(3) {
				m.down(f, netip.AddrPortFrom(ip, port), want)
			}
		}
		for i := range uint16(modelNumbers) {
			b, there := f.numbers[MinChannel+i]
			there = there && m.now.Before(b.expires)
			peer, bound, permitted := f.a.Uplink(m.now, MinChannel+i)
			if bound != there || bound && (peer != b.peer || permitted != m.now.Before(f.permits[peer.Addr()])) {
				m.fail("%s: %#x goes to %v %v %v, want %v %v", f.name, MinChannel+i, peer, bound, permitted, b.peer, there)
			}
		}
	}
	for user, account := range m.ledger.users {
		if got := account.permissions.Load(); got != int64(permissions[user]) {
			m.fail("%s is charged %d permissions, has %d", user, got, permissions[user])
		}
		if got := account.channels.Load(); got != int64(channels[user]) {
			m.fail("%s is charged %d channels, has %d", user, got, channels[user])
		}
	}
}

func (m *model) down(f *fact, from netip.AddrPort, permitted bool) {
	m.t.Helper()
	want := uint16(0)
	for n, b := range f.numbers {
		if b.peer == from && m.now.Before(b.expires) && permitted {
			want = n
		}
	}
	if number, got := f.a.Downlink(m.now, from); got != permitted || got && number != want {
		m.fail("%s: from %v: %#x %v, want %#x %v", f.name, from, number, got, want, permitted)
	}
}
