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
func (j *join) pump(dst, src *net.TCPConn, w *way) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	j.begin(dst, src)
	read := src.Read
	if w.layer != nil {
		read = w.layer.Read
	}
	for {
		want := bufferSize
		if w.pace != nil {
			if want = w.pace.Take(want); want == 0 {
				if err := j.sleep(src, dst); err != nil {
					return err
				}
				continue
			}
		}
		n, err := read(buffer[:want])
		if w.pace != nil {
			w.pace.Return(want - n)
		}
		for done := 0; done < n; {
			k, err := dst.Write(buffer[done:n])
			done += k
			w.flow.copied(k)
			if k > 0 {
				j.touch()
				if w.onto != nil && err == nil {
					if err := w.onto.Sealed(k); err != nil {
						return sourceError{err}
					}
				}
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
