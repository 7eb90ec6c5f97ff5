//go:build !unix

package turn

import "traverse.internal/core/bufpool"

type (
	streamReader struct{}
	streamWriter struct{}
)

func (st *stream) bindCallbacks() {}

// read waits for bytes and appends them to the buffer, which it holds meanwhile.
func (st *stream) read() error {
	if st.buf == nil {
		st.buf, st.have = bufpool.Get(streamBuffer), 0
	}
	n, err := st.conn.Read(st.buf.Bytes()[st.have:])
	st.have += n
	if n > 0 {
		return nil
	}
	return err
}

// tryWrite takes nothing: everything goes through the backlog's goroutine.
func (st *stream) tryWrite([]byte) (int, error) { return 0, nil }
