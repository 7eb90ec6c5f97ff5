package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Build is what a program was built from.
type Build struct {
	Version  string `json:"version"`  // of the module: a tag, or one made of time and revision
	Revision string `json:"revision"` // of the repository; empty: not known
	Modified bool   `json:"modified"` // files differed from it
	Go       string `json:"go"`
	Platform string `json:"platform"` // linux/amd64
}

// ThisBuild reads it out of the running program.
func ThisBuild() Build {
	b := Build{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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
	return fmt.Sprintf("%s (%s) %s %s", version, revision, b.Go, b.Platform)
}
