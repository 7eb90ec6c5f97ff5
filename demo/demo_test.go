package demo

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"traverse.internal/daemon"
)

// TestDemo runs the demo as users do, with smaller files.
func TestDemo(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 loopback, which half of the demo runs over: %v", err)
	} else {
		l.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	dir := t.TempDir()
	report, err := Run(ctx, Options{Dir: dir, DirectSize: 8 << 20, RouteSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Stages {
		if !s.Pass {
			t.Errorf("%s: %s", s.Name, s.Error)
		}
	}
	if !report.Pass || len(report.Stages) != len(stages) {
		t.Errorf("pass = %v after %d of %d stages", report.Pass, len(report.Stages), len(stages))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	raw, err := json.Marshal(report)
	if err != nil || !strings.HasPrefix(string(raw), `{"schema":"demo.v1","pass":true,"ms":`) {
		t.Errorf("report = %.80s, %v", raw, err)
	}
}

// A stage that does not hold fails the demo, and says why: the demo would otherwise prove nothing.
func TestDemoFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody can be reached in no time
	report, err := Run(ctx, Options{Dir: t.TempDir(), DirectSize: 1, RouteSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	last := report.Stages[len(report.Stages)-1]
	if report.Pass || last.Pass || last.Error == "" || len(report.Stages) == len(stages) {
		t.Errorf("pass = %v, last stage %+v; want a failure that says why", report.Pass, last)
	}
}

func TestRouteCheck(t *testing.T) {
	lan := pathOf("direct", "host/tcp", "DIRECT_LAN")
	if direct.check(nil) == nil || relayed.check(lan) == nil || overUDP.check(lan) == nil || direct.check(pathOf("direct", "host/tcp", "PUNCHED_TCP")) == nil {
		t.Error("a wrong path passed")
	}
	if err := direct.check(lan); err != nil {
		t.Error(err)
	}
}

func pathOf(kind, via, reason string) *daemon.Path {
	return &daemon.Path{Kind: kind, Via: via, Reason: reason}
}
