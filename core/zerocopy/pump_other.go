//go:build !linux

package zerocopy

import (
	"errors"
	"io"
	"net"
	"os"
)

// MaxPipes is 0 where there is no splice.
const MaxPipes = 0

func countPipes() (open, idle int) { return 0, 0 }

// pump copies through one buffer, which it holds until src ends.
func (j *join) pump(dst, src *net.TCPConn, flow *Flow, pace Pacer) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	j.begin(dst, src)
	for {
		want, err := j.allowed(pace, src, dst, bufferSize)
		if err != nil {
			return err
		}
		n, err := src.Read(buffer[:want])
		if pace != nil && n > 0 {
			pace.Moved(n)
		}
		for done := 0; done < n; {
			k, err := dst.Write(buffer[done:n])
			done += k
			flow.copied(k)
			if k > 0 {
				j.touch()
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = j.expired(dst.SetWriteDeadline)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := j.expired(src.SetReadDeadline); err != nil {
				return err
			}
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			return sourceError{err}
		}
	}
}

// settle cannot look into the send queue here: the close that follows is the kernel's.
func settle(*net.TCPConn) {}
