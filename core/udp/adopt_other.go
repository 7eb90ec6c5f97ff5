//go:build !linux

package udp

import (
	"errors"
	"os"
	"syscall"
)

func adopt(*os.File, Options) (*Conn, error) {
	return nil, errors.New("udp: sockets cannot be adopted on this system")
}

// SyscallConn gives the socket to who wants to hand a copy of it on.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.udp.SyscallConn() }
