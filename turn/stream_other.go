//go:build !unix

package turn

type (
	streamReader struct{}
	streamWriter struct{}
)

func (st *stream) bindCallbacks() {}

// read waits for bytes and appends them to the buffer, which it holds meanwhile.
func (st *stream) read() error { return st.readWaiting() }

// tryWrite takes nothing: everything goes through the backlog's goroutine.
func (st *stream) tryWrite([]byte) (int, error) { return 0, nil }
