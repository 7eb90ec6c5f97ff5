//go:build !linux || !(amd64 || arm64)

package offload

import (
	"errors"
	"time"
)

// Built is false: there is no code for the system's kernel.
const Built = false

// Relay has no kernel to run in here: Open always fails.
type Relay struct{}

// Open says that there is no relay on this system.
func Open(Config) (*Relay, error) {
	return nil, errors.New("offload: it takes Linux on amd64 or arm64")
}

// Insert refuses.
func (r *Relay) Insert(Flow) (Handle, error) { return 0, ErrClosed }

// Renew does nothing.
func (r *Relay) Renew(Handle, time.Duration) {}

// Stop does nothing.
func (r *Relay) Stop(Handle) {}

// Counts returns none.
func (r *Relay) Counts(Handle) Both { return Both{} }

// Release does nothing.
func (r *Relay) Release(Handle) {}

// Meter does nothing.
func (r *Relay) Meter(Handle, Bucket, Bucket) {}

// NewBucket refuses.
func (r *Relay) NewBucket() (Bucket, bool) { return 0, false }

// Grant does nothing.
func (r *Relay) Grant(Bucket, int64) int64 { return 0 }

// FreeBucket does nothing.
func (r *Relay) FreeBucket(Bucket) {}

// Invalidate does nothing.
func (r *Relay) Invalidate() {}

// Sweep does nothing.
func (r *Relay) Sweep() {}

// Stats returns none.
func (r *Relay) Stats() Stats { return Stats{} }

// Close does nothing.
func (r *Relay) Close() error { return nil }
