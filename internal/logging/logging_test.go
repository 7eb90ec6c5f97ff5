package logging

import (
	"bytes"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	for _, c := range []struct{ level, format, debug, warn string }{
		{"debug", "text", "level=DEBUG", "level=WARN"},
		{"warn", "json", "", `"level":"WARN"`},
		{"error", "json", "", ""},
		{"info", "auto", "", `"level":"WARN"`}, // a buffer is no terminal
	} {
		var b bytes.Buffer
		l := New(&b, c.level, c.format)
		l.Debug("quiet")
		debug := b.String()
		b.Reset()
		l.Warn("loud")
		for got, want := range map[string]string{debug: c.debug, b.String(): c.warn} {
			if want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("%s %s: wrote %q, want %q in it", c.level, c.format, got, want)
			}
		}
	}
}

// A switch changes loggers that are in use, those with attributes too.
func TestSwitch(t *testing.T) {
	var out strings.Builder
	log, s := NewSwitched(&out, "warn", "json")
	child := log.With("part", "x")
	child.Info("unheard")
	s.Set("debug", "text")
	child.Debug("heard")
	s.Set("info", "auto")
	child.Debug("unheard")
	child.Info("last")
	if got := out.String(); strings.Contains(got, "unheard") || !strings.Contains(got, "msg=heard part=x") || !strings.Contains(got, `"msg":"last","part":"x"`) {
		t.Errorf("got %s", got)
	}
}
