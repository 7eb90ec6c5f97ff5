package alloc

import (
	"math"
	"testing"
)

func TestPorts(t *testing.T) {
	const first, last = 0, math.MaxUint64 // random numbers that begin at the lowest and the highest port
	p := NewPorts(40001, 40006)

	for _, step := range []struct {
		name   string
		take   func(uint64) (uint16, bool)
		random uint64
		port   uint16
		ok     bool
	}{
		{"a pair begins even", p.TakePair, first, 40002, true},
		{"even leaves its partner", p.TakeEven, first, 40004, true},
		{"the search goes round", p.TakeEven, last, 40006, true},
		{"no pair is left", p.TakePair, first, 0, false},
		{"no even port is left", p.TakeEven, last, 0, false},
		{"any", p.Take, first, 40001, true},
		{"any goes round", p.Take, last, 40005, true},
		{"full", p.Take, first, 0, false},
	} {
		port, ok := step.take(step.random)
		if port != step.port || ok != step.ok {
			t.Fatalf("%s: got %d %v, want %d %v", step.name, port, ok, step.port, step.ok)
		}
	}
	if got := p.Used(); got != 6 {
		t.Errorf("used: got %d, want 6", got)
	}
	p.Release(40003)
	p.Release(40003)
	p.Release(1)
	if got := p.Used(); got != 5 {
		t.Errorf("used after release: got %d, want 5", got)
	}
	if port, ok := p.Take(last); port != 40003 || !ok {
		t.Errorf("after release: got %d %v, want 40003", port, ok)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		ok     bool
	}{
		{"zero means defaults", Limits{}, true},
		{"negative", Limits{PerUser: -1}, false},
		{"longer than the wheel", Limits{MaxLifetime: 4001e9}, false},
		{"shorter than the default lifetime", Limits{MaxLifetime: 599e9}, false},
		{"channels of RFC 5766", Limits{MaxChannel: 0x7fff}, true},
		{"channels that look like other protocols", Limits{MaxChannel: 0x8000}, false},
	} {
		if err := c.limits.Check(); (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// The packet path asks the table three questions; none may allocate.
func TestLookupAllocatesNothing(t *testing.T) {
	table := NewTable(Limits{}, begin)
	a, _ := table.Insert(begin, New{Tuple: tupleOf("A"), Relayed: addrPort("192.0.2.1:50000")})
	peer := addrPort("198.51.100.1:9")
	table.BindChannel(begin, a, MinChannel, peer)
	got := testing.AllocsPerRun(100, func() {
		found := table.Lookup(tupleOfA)
		found.Uplink(begin, MinChannel)
		found.Downlink(begin, peer)
		found.Permitted(begin, peer.Addr())
	})
	if got != 0 {
		t.Errorf("allocations: got %v, want 0", got)
	}
}

var tupleOfA = tupleOf("A")
