package zerocopy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// A FileError says that a file had not the bytes that were to be sent: it is shorter, or could not be read. The
// connection is whole and ends behind the bytes that SendFile says have been sent.
type FileError struct{ Err error }

func (e *FileError) Error() string { return fmt.Sprintf("zerocopy: send file: %v", e.Err) }

// Unwrap returns the cause, io.ErrUnexpectedEOF for a file that is shorter.
func (e *FileError) Unwrap() error { return e.Err }

// SendFile writes head and behind it n bytes of file from offset on, and returns how many bytes of both have been sent.
// The two go out together: with kernel TLS, in the same record. The file's own offset does not matter and is not moved.
// What the kernel does not send by itself goes through a buffer. It obeys dst's write deadline. A *FileError is the
// file's fault; after any other error nobody knows what has left.
func SendFile(dst *net.TCPConn, head []byte, file *os.File, offset int64, n int) (sent int, err error) {
	return sendFile(dst, head, file, offset, n)
}

// copyFile sends n bytes of file through a buffer.
func copyFile(dst *net.TCPConn, file *os.File, offset int64, n int) (sent int, err error) {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	for sent < n {
		k, readErr := file.ReadAt(buffer[:min(n-sent, bufferSize)], offset+int64(sent))
		wrote, err := dst.Write(buffer[:k])
		sent += wrote
		totals.fileCopied.Add(uint64(wrote))
		if err != nil {
			return sent, err
		}
		if sent < n && readErr != nil {
			return sent, fileError(readErr)
		}
	}
	return sent, nil
}

func fileError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &FileError{Err: err}
}
