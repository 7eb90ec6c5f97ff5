//go:build !linux

package zerocopy

import "testing"

func takeAllPipes(*testing.T) {}
