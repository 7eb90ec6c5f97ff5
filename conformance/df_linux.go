package conformance

import (
	"encoding/binary"
	"errors"
	"syscall"
	"time"
)

// watchDF has the kernel copy what arrives with its IPv4 header, which takes root. What it returns says whether the datagram
// to the peer with the data had DF.
func (u *udpPeer) watchDF() (find func(data string) (df, ok bool), err error) {
	if !u.addr.Addr().Is4() {
		return nil, errors.New("IPv6 has no DF")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, syscall.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	u.p.atEnd(func() { syscall.Close(fd) })
	return func(data string) (df, ok bool) {
		var room [1 << 16]byte
		for end := time.Now().Add(quiet); time.Now().Before(end); {
			n, _, err := syscall.Recvfrom(fd, room[:], 0)
			if err == syscall.EAGAIN {
				return false, false // it had arrived before this was asked
			}
			if err != nil || n < 20 {
				continue
			}
			head := int(room[0]&15) * 4
			if n < head+8 || binary.BigEndian.Uint16(room[head+2:]) != u.addr.Port() || string(room[head+8:n]) != data {
				continue // somebody else's
			}
			return room[6]&0x40 != 0, true
		}
		return false, false
	}, nil
}
