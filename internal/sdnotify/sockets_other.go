//go:build !linux

package sdnotify

import (
	"errors"
	"net"
)

// There is no systemd here.

func closeOnExec(int) {}

func rights(int) []byte { return nil }

func monotonic() int64 { return 0 }

func inode(int) string { return "0" }

func sendBeside(*net.UnixConn, []byte, []byte) error { return errors.ErrUnsupported }
