package cli

import (
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
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
