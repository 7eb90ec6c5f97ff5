package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"traverse.internal/daemon"
)

// Sizes of the files: issue-sized by default, small in tests.
const (
	DirectSize = 256 << 20
	RouteSize  = 16 << 20
)

// Options of a demo. The zero value is the one users run.
type Options struct {
	Dir        string      // parent of the temporary folder; "" for the system's
	Keep       bool        // leave the folder for a look
	DirectSize int64       // bytes of the files that go direct over IPv4; 0 means DirectSize
	RouteSize  int64       // bytes over every other route; 0 means RouteSize
	OnStage    func(Stage) // called as each stage ends; may be nil
}

// stage is one step of the demo: it does its work on the lab and fills in what it measured.
type stage struct {
	name string
	run  func(ctx context.Context, l *lab, s *Stage) error
}

// stages in the order in which they run. Each builds on the ones before: after a failure the rest is not tried.
var stages = []stage{
	{"private DHT", startDHT},
	{"turnd on 127.0.0.1 and ::1", startTurnd},
	{"three devices", startDevices},
	{"a stranger meets silence", strangerSilence},
	{"connect direct, IPv4", connectTo("phone", direct)},
	{"second channel", secondChannel},
	{"file to phone, direct IPv4", sendBig("laptop", "phone", direct)},
	{"file from phone, direct IPv4", sendBig("phone", "laptop", direct)},
	{"connect direct, IPv6", connectTo("desktop", direct)},
	{"file to desktop, direct IPv6", send("laptop", "desktop", direct)},
	{"file from desktop, direct IPv6", send("desktop", "laptop", direct)},
	{"an offer declined", declineOffer},
	{"a transfer cancelled", cancelTransfer},
	{"laptop closes TCP", udpOnly},
	{"connect direct, UDP", connectTo("phone", overUDP)},
	{"file to phone, direct UDP", send("laptop", "phone", overUDP)},
	{"file from phone, direct UDP", send("phone", "laptop", overUDP)},
	{"laptop goes relay-only", relayOnly},
	{"connect relayed, IPv4", connectTo("phone", relayed)},
	{"file to phone, relayed IPv4", send("laptop", "phone", relayed)},
	{"file from phone, relayed IPv4", send("phone", "laptop", relayed)},
	{"connect relayed, IPv6", connectTo("desktop", relayed)},
	{"file to desktop, relayed IPv6", send("laptop", "desktop", relayed)},
	{"file from desktop, relayed IPv6", send("desktop", "laptop", relayed)},
	{"the relay dies and comes back", cutRelay},
	{"everything ends", stopAll},
}

// Run runs the demo. The error says that it could not run at all; stages that failed are in the Report.
func Run(ctx context.Context, opt Options) (Report, error) {
	if opt.DirectSize == 0 {
		opt.DirectSize = DirectSize
	}
	if opt.RouteSize == 0 {
		opt.RouteSize = RouteSize
	}
	dir, err := os.MkdirTemp(opt.Dir, "traverse-demo-")
	if err != nil {
		return Report{}, fmt.Errorf("demo: no temporary folder: %w", err)
	}
	if !opt.Keep {
		defer os.RemoveAll(dir)
	}
	l := newLab(dir, opt)
	defer l.stop()
	report := Report{Schema: Schema, Pass: true}
	began := time.Now()
	for _, st := range stages {
		s := Stage{Name: st.name}
		t := time.Now()
		err := st.run(ctx, l, &s)
		if s.MS == 0 {
			s.MS = ms(time.Since(t))
		}
		s.Pass = err == nil
		if err != nil {
			s.Error = err.Error()
			report.Pass = false
		}
		report.Stages = append(report.Stages, s)
		if opt.OnStage != nil {
			opt.OnStage(s)
		}
		if err != nil {
			break
		}
	}
	report.MS = ms(time.Since(began))
	return report, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// route is what a stage expects of a path.
type route struct{ kind, transport, reason string }

var (
	direct  = route{"direct", "tcp", "DIRECT_LAN"}
	overUDP = route{"direct", "udp", "DIRECT_LAN"}
	relayed = route{"relayed", "tcp", "RELAY_POLICY"}
)

func (want route) check(p *daemon.Path) error {
	switch {
	case p == nil:
		return errors.New("no path was reported")
	case p.Kind != want.kind || !strings.HasSuffix(p.Via, "/"+want.transport) || p.Reason != want.reason:
		return fmt.Errorf("the path is %s %s %s, want %s over %s, %s", p.Kind, p.Via, p.Reason, want.kind, want.transport, want.reason)
	}
	return nil
}
