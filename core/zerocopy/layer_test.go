package zerocopy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
)

// plainLayer is a layer that changes nothing. Its peer ends its stream by a FIN, if it says so.
type plainLayer struct {
	*net.TCPConn
	ends   error // what a FIN is
	sealed atomic.Int64
	limit  int64 // 0: none
}

func (l *plainLayer) Read(p []byte) (int, error) {
	n, err := l.TCPConn.Read(p)
	if err == io.EOF {
		err = l.ends
	}
	return n, err
}

var errWorn = errors.New("worn")

func (l *plainLayer) Sealed(n int) error {
	if sum := l.sealed.Add(int64(n)); l.limit > 0 && sum > l.limit {
		return errWorn
	}
	return nil
}

// layered is a line whose a has the layer.
func layered(t *testing.T, layer *plainLayer) *line {
	l := &line{done: make(chan error, 1)}
	l.near, l.a = pair(t)
	l.far, l.b = pair(t)
	layer.TCPConn = l.a
	go func() { l.done <- Join(l.a, l.b, Options{LayerA: layer}) }()
	return l
}

// The layer says what the end of its stream is, also where there is no pipe.
func TestLayerSaysWhatAnEndIs(t *testing.T) {
	for _, c := range []struct {
		name    string
		ends    error
		want    error
		noPipes bool
	}{
		{"a proper end", io.EOF, nil, false},
		{"a proper end, all pipes taken", io.EOF, nil, true},
		{"a cut", io.ErrUnexpectedEOF, syscall.ECONNRESET, false},
		{"a cut, all pipes taken", io.ErrUnexpectedEOF, syscall.ECONNRESET, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.noPipes {
				takeAllPipes(t)
			}
			l := layered(t, &plainLayer{ends: c.ends})
			data := noise(7, 300_000)
			go func() { _ = send(l.near, data) }()
			got, err := io.ReadAll(l.far)
			if !bytes.Equal(got, data) || !errors.Is(err, c.want) {
				t.Errorf("far read %d bytes of %d, %v, want %v", len(got), len(data), err, c.want)
			}
			l.far.Close()
			l.near.Close()
			if err := l.wait(t); !errors.Is(err, c.ends) && c.ends != io.EOF {
				t.Errorf("Join: %v, want %v", err, c.ends)
			}
		})
	}
}

// A key that has sealed what it may ends the Join, for both sides.
func TestLayerIsWorn(t *testing.T) {
	l := layered(t, &plainLayer{ends: io.EOF, limit: 1000})
	if _, err := l.far.Write(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(l.near); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("near: %v, want a reset", err)
	}
	if _, err := l.far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("far: %v, want a reset", err)
	}
	if err := l.wait(t); !errors.Is(err, errWorn) {
		t.Errorf("Join: %v, want errWorn", err)
	}
}
