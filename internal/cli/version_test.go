package cli

import "testing"

func TestBuildIsALine(t *testing.T) {
	for _, c := range []struct {
		build Build
		want  string
	}{
		{Build{Version: "v1.2.3", Revision: "abc", Go: "go1.26", Platform: "linux/amd64"}, "v1.2.3 (abc) go1.26 linux/amd64"},
		{Build{Revision: "abc", Modified: true, Go: "go1.26", Platform: "linux/arm64"}, "(devel) (abc, modified) go1.26 linux/arm64"},
		{Build{Version: "(devel)", Go: "go1.26", Platform: "linux/amd64"}, "(devel) (revision unknown) go1.26 linux/amd64"},
	} {
		if got := c.build.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
