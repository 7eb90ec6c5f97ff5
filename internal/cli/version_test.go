package cli

import (
	"slices"
	"testing"
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
