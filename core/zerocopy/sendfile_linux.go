package zerocopy

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func sendFile(dst *net.TCPConn, head []byte, file *os.File, offset int64, n int) (sent int, err error) {
	out, err := dst.SyscallConn()
	if err != nil {
		return 0, err
	}
	in, err := file.SyscallConn()
	if err != nil {
		return 0, &FileError{Err: err}
	}
	var failed error // of the last system call
	for sent < len(head) {
		err := out.Write(func(fd uintptr) bool {
			var k int
			k, failed = unix.SendmsgN(int(fd), head[sent:], nil, nil, unix.MSG_MORE|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			sent += max(0, k)
			return failed != unix.EAGAIN
		})
		if err == nil && failed != nil && failed != unix.EINTR {
			err = os.NewSyscallError("sendmsg", failed)
		}
		if err != nil {
			return sent, err
		}
	}
	total := len(head) + n
	for sent < total {
		var k int
		var gone error // the file is closed
		err := out.Write(func(fd uintptr) bool {
			gone = in.Control(func(from uintptr) {
				at := offset + int64(sent-len(head))
				k, failed = unix.Sendfile(int(fd), int(from), &at, total-sent)
			})
			return gone != nil || failed != unix.EAGAIN
		})
		switch {
		case err != nil:
			return sent, err
		case gone != nil:
			return sent, &FileError{Err: gone}
		case failed == unix.EINTR:
		case failed == unix.EINVAL, failed == unix.ENOSYS, failed == unix.EOPNOTSUPP: // not for this file
			k, err := copyFile(dst, file, offset+int64(sent-len(head)), total-sent)
			return sent + k, err
		case failed != nil:
			return sent, blame(file, offset+int64(sent-len(head)), os.NewSyscallError("sendfile", failed))
		case k == 0:
			return sent, &FileError{Err: io.ErrUnexpectedEOF}
		default:
			sent += k
			totals.fileSent.Add(uint64(k))
		}
	}
	return sent, nil
}

// blame finds out whose error it was: sendfile has one for the file and the socket.
func blame(file *os.File, at int64, err error) error {
	if _, readErr := file.ReadAt(make([]byte, 1), at); readErr != nil {
		return fileError(readErr)
	}
	return err
}
