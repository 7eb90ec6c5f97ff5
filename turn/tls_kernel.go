package turn

import (
	stdtls "crypto/tls"
	"errors"
	"io"
	"sync/atomic"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/ktls"
)

// A client's connection over TLS may become a data connection, whose records the kernel then seals and opens, where it can
// (docs/kernel-tls.md). It has to find everything behind the ConnectionBind in the socket, and to know the number of the next
// record in each direction. So until the connection has an allocation, which a data connection never has, it is read a record
// at a time, and the records are counted.

// exactReader reads so. All but wide is the reader's alone.
type exactReader struct {
	tcp     io.Reader
	records ktls.RecordReader
	secrets ktls.Secrets
	wide    atomic.Bool // it has an allocation, or had one: what comes is read
	held    bool        // nothing is read
	shaken  bool        // the handshake is over
	odd     bool        // a record came that was no data: keys may have changed

	read0, wrote0 uint64 // records of the handshake
}

// errHeld is what TLS gets while nothing is read. It is temporary, or TLS would keep it.
var errHeld = heldError{}

type heldError struct{}

func (heldError) Error() string   { return "turn: nothing is read now" }
func (heldError) Timeout() bool   { return false }
func (heldError) Temporary() bool { return true }

// newExactReader prepares a connection whose handshake has not begun; nil where the kernel has no TLS.
func newExactReader(tcp io.Reader, config *stdtls.Config) *exactReader {
	if !ktls.Available() {
		return nil
	}
	e := &exactReader{tcp: tcp, records: ktls.RecordReader{Source: tcp}}
	config.KeyLogWriter = &e.secrets
	config.SessionTicketsDisabled = true // they would be records with the application's keys
	return e
}

func (e *exactReader) read(b []byte) (int, error) {
	switch {
	case e.held:
		return 0, errHeld
	case e.wide.Load():
		return e.tcp.Read(b)
	}
	return e.records.Read(b)
}

// readSecured is a read of what came over TLS.
func (st *stream) readSecured(b []byte) (int, error) {
	e := st.records.exact
	if e == nil {
		return st.secure.Read(b)
	}
	if !e.shaken {
		if err := st.secure.Handshake(); err != nil {
			return 0, err
		}
		e.shaken = true
		e.read0, _ = e.records.Whole()
		e.wrote0 = st.records.written()
	}
	before, _ := e.records.Whole()
	n, err := st.secure.Read(b)
	if after, _ := e.records.Whole(); after > before+1 {
		e.odd = true
	}
	return n, err
}

func (c *recordConn) written() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote
}

// toKernel hands the records of a data connection to the kernel; nil: they stay with the program. What TLS has opened already
// is appended to early, which has room for it. After an error the connection is broken.
func (st *stream) toKernel(early *bufpool.Buf, have *int) (*kernelEnd, error) {
	e := st.records.exact
	if e == nil {
		ktls.Stay(ktls.NoKernel)
		return nil, nil
	}
	if state := st.secure.ConnectionState(); state.Version != stdtls.VersionTLS13 || state.CipherSuite != stdtls.TLS_AES_128_GCM_SHA256 {
		ktls.Stay(ktls.OtherSuite)
		return nil, nil
	}
	read, exact := e.records.Whole()
	if !exact || e.odd || e.wide.Load() {
		ktls.Stay(ktls.ReadAhead)
		return nil, nil
	}
	e.held = true
	var err error
	for err == nil && *have < len(early.Bytes()) {
		var n int
		n, err = st.secure.Read(early.Bytes()[*have:])
		*have += n
	}
	e.held = false
	if !errors.Is(err, errHeld) { // no room, which cannot be, or the end has come
		ktls.Stay(ktls.ReadAhead)
		return nil, nil
	}
	k, err := ktls.Attach(st.tcp, &e.secrets, true, st.records.written()-e.wrote0, read-e.read0)
	if errors.Is(err, ktls.ErrUnavailable) {
		return nil, nil // counted
	}
	if err != nil {
		return nil, err
	}
	return &kernelEnd{Conn: k}, nil
}

// kernelEnd is a data connection in the kernel, for zerocopy.
type kernelEnd struct {
	*ktls.Conn
	records atomic.Uint64 // sealed
}

// errWorn ends a connection whose key has sealed as much as one may: 256 GiB to the client. It connects anew.
var errWorn = errors.New("turn: a data connection's key is worn")

// Sealed counts.
func (k *kernelEnd) Sealed(n int) error {
	if k.records.Add(ktls.Records(n)) > ktls.MaxRecords {
		return errWorn
	}
	return nil
}
