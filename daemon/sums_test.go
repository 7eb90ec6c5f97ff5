package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Hashing in the background rests after each block, longer while a transfer runs, and not at all where somebody waits for the digest. The time is virtual: it
// passes in rests only.
func TestBackgroundHashingRests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 4*sumBlock), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		runs int
		rest bool
		want time.Duration
	}{
		{"nothing else to do", 0, true, 5 * sumRest}, // the fifth read finds the end
		{"a transfer runs", 1, true, 5 * sumRestBusy},
		{"somebody waits", 1, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				d := &Daemon{ctx: ctx, table: &table{runs: c.runs}}
				var rest func()
				if c.rest {
					rest = d.restSumming
				}
				began := time.Now()
				if _, ok := d.sumFile(path, make([]byte, sumBlock), rest); !ok {
					t.Fatal("the file was not hashed")
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("it rested for %v, want %v", took, c.want)
				}
			})
		})
	}
}
