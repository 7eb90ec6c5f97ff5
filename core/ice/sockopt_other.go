//go:build !linux

package ice

import "syscall"

// canShare is false where ports were not tried to be shared: connections are dialled from ports of their own, which leaves
// out simultaneous open and nothing else.
const canShare = false

func shareDial(_, _ string, _ syscall.RawConn) error { return nil }

func shareListener(syscall.RawConn) error { return nil }
