package ktls

import (
	"os"
	"testing"
)

// underUML is set where a kernel with TLS has been booted for the tests; a test that needs it must not skip there.
var underUML = os.Getenv("TRAVERSE_UML") != ""

func TestProbe(t *testing.T) {
	available := Available()
	if underUML && !available {
		t.Fatalf("no kernel TLS in a kernel that has it: %v", probe())
	}
	if s := ReadStats(); !s.Probed || s.Available != available {
		t.Errorf("stats %+v, available %v", s, available)
	}
	t.Logf("kernel TLS: %v", available)
}
