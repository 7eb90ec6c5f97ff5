//go:build !linux

package zerocopy

import (
	"net"
	"os"
)

func sendFile(dst *net.TCPConn, head []byte, file *os.File, offset int64, n int) (sent int, err error) {
	if sent, err = dst.Write(head); err != nil {
		return sent, err
	}
	k, err := copyFile(dst, file, offset, n)
	return sent + k, err
}
