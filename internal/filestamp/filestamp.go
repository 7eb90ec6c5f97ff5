// Package filestamp tells whether files have changed, by looks at them.
package filestamp

import (
	"os"
	"time"
)

// A Stamp is one look at what a name leads to, through links: a Kubernetes Secret is changed by turning a link to another
// folder, where the file may have the same size and time. The zero value is a file that is not there.
type Stamp struct {
	info     os.FileInfo
	modified time.Time
	size     int64
}

// Of looks at a file. One that cannot be looked at is not there.
func Of(path string) Stamp {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}
	}
	return Stamp{info, info.ModTime(), info.Size()}
}

// All looks at several.
func All(paths ...string) []Stamp {
	stamps := make([]Stamp, len(paths))
	for i, path := range paths {
		stamps[i] = Of(path)
	}
	return stamps
}

// Same says that two looks saw the same file, unchanged.
func (s Stamp) Same(other Stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return s.modified.Equal(other.modified) && s.size == other.size && os.SameFile(s.info, other.info)
}
