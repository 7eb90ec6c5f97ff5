//go:build !linux

package conformance

import (
	"errors"
	"net"
	"time"
)

func (c *client) setTOS(int) error                    { return errors.ErrUnsupported }
func (u *udpPeer) wantTOS() error                     { return errors.ErrUnsupported }
func (u *udpPeer) recvTOS(time.Duration) (int, error) { return 0, errors.ErrUnsupported }
func shrinkBacklog(*net.TCPListener) error            { return errors.ErrUnsupported }
