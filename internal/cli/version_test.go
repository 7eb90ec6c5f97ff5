package cli

import (
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

func TestBuildIsALine(t *testing.T) {
	for _, c := range []struct {
		build Build
		want  string
	}{
		{Build{Version: "v1.2.3", Revision: "abc", Go: "go1.26", Platform: "linux/amd64"}, "v1.2.3 (abc) go1.26 linux/amd64, with nothing that needs a certain system"},
		{Build{Revision: "abc", Modified: true, Go: "go1.26", Platform: "linux/arm64", Features: []string{"ktls", "offload"}}, "(devel) (abc, modified) go1.26 linux/arm64, with ktls, offload"},
		{Build{Version: "(devel)", Go: "go1.26", Platform: "linux/amd64"}, "(devel) (revision unknown) go1.26 linux/amd64, with nothing that needs a certain system"},
	} {
		if got := c.build.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Features are those that are built in, in order, and an empty list where there is none: JSON has no null there.
func TestFeatures(t *testing.T) {
	if got := ThisBuild(Features{"b": true, "c": false, "a": true}).Features; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
	if got := ThisBuild(nil).Features; got == nil || len(got) > 0 {
		t.Errorf("got %#v", got)
	}
}

func TestClockBehind(t *testing.T) {
	built := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	settings := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.time", Value: built.Format(time.RFC3339)}}
	for _, c := range []struct {
		name     string
		now      time.Time
		settings []debug.BuildSetting
		behind   bool
	}{
		{"the day after", built.AddDate(0, 0, 1), settings, false},
		{"the same hour, of another zone", built.Add(-13 * time.Hour), settings, false},
		{"a clock that began anew", time.Unix(0, 0), settings, true},
		{"the day before", built.AddDate(0, 0, -1), settings, true},
		{"nothing known of the program", time.Unix(0, 0), nil, false},
		{"a time that is none", time.Unix(0, 0), []debug.BuildSetting{{Key: "vcs.time", Value: "yesterday"}}, false},
	} {
		if at, behind := clockBehind(c.now, c.settings); behind != c.behind || behind && !at.Equal(built) {
			t.Errorf("%s: got %v and %v, want %v", c.name, at, behind, c.behind)
		}
	}
}
