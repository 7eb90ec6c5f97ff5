//go:build unix

package relayadmin

import (
	"net"
	"syscall"
)

// listenPrivately opens a socket that is never open to others, not for a moment.
func listenPrivately(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path)
}
