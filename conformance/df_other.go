//go:build !linux

package conformance

import "errors"

func (u *udpPeer) watchDF() (find func(data string) (df, ok bool), err error) {
	return nil, errors.New("not on this system")
}
