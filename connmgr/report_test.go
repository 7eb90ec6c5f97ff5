package connmgr

import (
	"testing"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
)

// manyTries is an attempt that tried more than is kept.
type manyTries struct{ PathAttempt }

func (manyTries) Report() ice.Report { return ice.Report{Tries: make([]ice.Try, maxTries+1)} }

// TestReportsAreBounded: each device has its last attempts, and only so many devices have any.
func TestReportsAreBounded(t *testing.T) {
	var m Manager
	device := func(n int) (id identity.DeviceID) {
		id[0], id[1] = byte(n), byte(n>>8)
		return id
	}
	begin := time.Unix(0, 0)
	for i := range maxReports + 3 {
		m.note(device(0), ice.Offerer, asked{began: begin.Add(time.Duration(i)), by: "push", took: time.Second}, manyTries{}, ice.Route{}, StageSignal, silentError{})
	}
	got := m.Reports(device(0))
	if len(got) != maxReports || !got[0].Began.Equal(begin.Add(3)) {
		t.Fatalf("%d reports, the first of %v", len(got), got[0].Began)
	}
	if r := got[0]; r.Carried != "push" || r.Answered != time.Second {
		t.Errorf("carried by %q, answered after %v", r.Carried, r.Answered)
	}
	if r := got[0]; r.Reason != reason.PeerSilent || r.Stage != StageSignal || len(r.ICE.Tries) != maxTries {
		t.Errorf("%v at %v with %d tries", r.Reason, r.Stage, len(r.ICE.Tries))
	}
	for n := 1; n <= maxReportPeers; n++ {
		m.note(device(n), ice.Answerer, asked{began: begin, by: "slot"}, nil, ice.Route{Kind: ice.Direct, Reason: reason.PunchedTCP}, StageSession, nil)
	}
	if len(m.Reports(device(0))) != 0 || len(m.past.peers) != maxReportPeers || len(m.past.order) != maxReportPeers {
		t.Errorf("%d devices, the oldest with %d reports", len(m.past.peers), len(m.Reports(device(0))))
	}
	if r := m.Reports(device(1)); len(r) != 1 || r[0].Reason != reason.PunchedTCP {
		t.Errorf("got %+v", r)
	}
}
