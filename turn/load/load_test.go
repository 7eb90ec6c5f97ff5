package load

import (
	"net/netip"
	"testing"
	"time"
)

// Every bucket begins where the one before ends, and a time is in its bucket, which is a sixteenth wide at most.
func TestBuckets(t *testing.T) {
	for i := range 60 * 16 {
		if got := bucket(least(i)); got != i {
			t.Fatalf("bucket %d begins at %d, which is in bucket %d", i, least(i), got)
		}
		if i > 16 && float64(least(i+1)-least(i)) > float64(least(i))/16 {
			t.Fatalf("bucket %d is %d to %d", i, least(i), least(i+1))
		}
		if i > 0 && bucket(least(i)-1) != i-1 {
			t.Fatalf("%d is in bucket %d, want %d", least(i)-1, bucket(least(i)-1), i-1)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var h, other histogram
	for i := 1; i <= 500; i++ {
		h.add(time.Duration(i) * time.Millisecond)
		other.add(time.Duration(500+i) * time.Millisecond)
	}
	h.merge(&other)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.quantile(q); got < want || got > want+want/16 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := (&histogram{}).quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestConfigLimits(t *testing.T) {
	good := Config{Server: netip.MustParseAddrPort("127.0.0.1:3478")}
	if err := good.Check(); err != nil || good.Flows != 1 || good.Size != 100 || good.Duration != 10*time.Second {
		t.Errorf("%+v, %v", good, err)
	}
	for name, spoil := range map[string]func(*Config){
		"server":   func(c *Config) { c.Server = netip.AddrPort{} },
		"flows":    func(c *Config) { c.Flows = MaxFlows + 1 },
		"size":     func(c *Config) { c.Size = MaxSize + 1 },
		"tiny":     func(c *Config) { c.Size = MinSize - 1 },
		"rate":     func(c *Config) { c.Rate = MaxRate + 1 },
		"duration": func(c *Config) { c.Duration = MaxDuration + 1 },
	} {
		bad := good
		if spoil(&bad); bad.Check() == nil {
			t.Errorf("%s: nothing is wrong with %+v", name, bad)
		}
	}
}
