package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"traverse.internal/config"
)

// TestDoctorJudges: each fact on both sides of its limit.
func TestDoctorJudges(t *testing.T) {
	conf, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	relay := func(left time.Duration) func(*Doctor) {
		end := now.Add(left)
		return func(x *Doctor) { x.relay(NetcheckRelay{TCP: true, Expires: &end}, now) }
	}
	kernel := func(m machine) func(*Doctor) { return func(x *Doctor) { x.machine(m, conf) } }
	low := uint64(conf.Transfer.MinFree)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name               string
		do                 func(*Doctor)
		warnings, failures int
	}{
		{"nothing is known", kernel(machine{}), 0, 0},
		{"descriptors", kernel(machine{files: nodeFiles}), 0, 0},
		{"too few descriptors", kernel(machine{files: nodeFiles - 1}), 1, 0},
		{"clock", kernel(machine{clockKnown: true, clockSynced: true}), 0, 0},
		{"nobody keeps the clock", kernel(machine{clockKnown: true}), 1, 0},
		{"conntrack", kernel(machine{conntrack: 79, conntrackMax: 100}), 0, 0},
		{"conntrack fills", kernel(machine{conntrack: 80, conntrackMax: 100}), 1, 0},
		{"conntrack is full", kernel(machine{conntrack: 95, conntrackMax: 100}), 0, 1},
		{"buffers", kernel(machine{rmemMax: enoughRmem}), 0, 0},
		{"small buffers", kernel(machine{rmemMax: enoughRmem - 1}), 1, 0},
		{"disk", kernel(machine{diskKnown: true, diskFree: low + 1}), 0, 0},
		{"full disk", kernel(machine{diskKnown: true, diskFree: low}), 0, 1},
		{"certificate", relay(nearExpiry), 0, 0},
		{"certificate ends soon", relay(nearExpiry - 1), 1, 0},
		{"certificate has ended", relay(0), 0, 1},
		{"relay is silent", func(x *Doctor) { x.relay(NetcheckRelay{}, now) }, 0, 1},
		{"no DHT, and a clock", func(x *Doctor) { x.network(Netcheck{Clock: NetcheckClock{1}}) }, 2, 0},
		{"readable secret", func(x *Doctor) { x.private("secret", file) }, 0, 1},
		{"no secret", func(x *Doctor) { x.private("secret", file+"x") }, 0, 1},
	} {
		var x Doctor
		c.do(&x)
		if x.Warnings != c.warnings || x.Failures != c.failures {
			t.Errorf("%s: %d warnings, %d failures: %+v", c.name, x.Warnings, x.Failures, x.Findings)
		}
		for _, f := range x.Findings {
			if f.Level != LevelOK && f.Fix == "" && c.name != "no secret" {
				t.Errorf("%s: nothing mends %+v", c.name, f)
			}
		}
	}
}
