package cli

import (
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Build is what a program was built from.
type Build struct {
	Version  string `json:"version"`  // of the module: a tag, or one made of time and revision
	Revision string `json:"revision"` // of the repository; empty: not known
	Modified bool   `json:"modified"` // files differed from it
	Go       string `json:"go"`
	Platform string `json:"platform"` // linux/amd64
	// Features are what is built in and needs a certain system, by name. Whether this machine has what they take is for
	// doctor and the metrics to say.
	Features []string `json:"features"`
}

// Features by name, with true for those that are built in.
type Features map[string]bool

// ThisBuild reads it out of the running program.
func ThisBuild(has Features) Build {
	b := Build{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Features: []string{}}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if has[name] {
			b.Features = append(b.Features, name)
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// ClockBehind is whether the clock is before the commit that the running program was built from, which is then returned: a machine without
// a battery for its clock, or nobody who sets it.
func ClockBehind(now time.Time) (built time.Time, behind bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}, false
	}
	return clockBehind(now, info.Settings)
}

func clockBehind(now time.Time, settings []debug.BuildSetting) (built time.Time, behind bool) {
	for _, s := range settings {
		if s.Key != "vcs.time" {
			continue
		}
		built, err := time.Parse(time.RFC3339, s.Value)
		return built, err == nil && now.Before(built.Add(-mostZone))
	}
	return time.Time{}, false
}

// mostZone is how far a clock may be behind that has the right local time and no zone: it is wrong by that, and was so for who built the program.
const mostZone = 14 * time.Hour

// Version is what a program with this envelope's schema prints about itself.
type Version struct {
	Envelope
	Build
}

// String is one line.
func (b Build) String() string {
	revision := b.Revision
	switch {
	case revision == "":
		revision = "revision unknown"
	case b.Modified:
		revision += ", modified"
	}
	version := b.Version
	if version == "" {
		version = "(devel)"
	}
	features := "nothing that needs a certain system"
	if len(b.Features) > 0 {
		features = strings.Join(b.Features, ", ")
	}
	return fmt.Sprintf("%s (%s) %s %s, with %s", version, revision, b.Go, b.Platform, features)
}
