package service

import (
	"bytes"
	"io"
	"testing"
)

// FuzzRequest: what parses is written as a name that parses to the same.
func FuzzRequest(f *testing.F) {
	for _, name := range []string{
		"service/ssh", "pipe/a.b-c_d", "tcp/host:22", "tcp/[::1]:22", "listen/f-abc/127.0.0.1:0", "back/f-abc", "file://x", "tcp/[::ffff:1.2.3.4]:1",
		"service/", "tcp/a:0", "listen/x", "back/../x",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r, err := ParseRequest(name)
		if err != nil {
			return
		}
		if again, err := ParseRequest(r.String()); err != nil || again != r {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", name, r, r.String(), again, err)
		}
	})
}

// FuzzTarget: the same for what is exposed.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"22", "host:22", "unix:/a", "10.0.0.0/8:*", "[fd00::]/8:22", "1.2.3.4/8:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			return
		}
		if again, err := ParseTarget(target.String()); err != nil || again != target {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", s, target, target, again, err)
		}
	})
}

type duplex struct {
	io.Reader
	io.Writer
}

func (duplex) Close() error { return nil }

// FuzzSOCKS: whatever a client says, what is asked for is a request that can be sent.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x0bweb.example\x00\x50"))
	f.Add([]byte("\x05\x02\x02\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := readSOCKS(duplex{bytes.NewReader(in), io.Discard})
		if err != nil {
			return
		}
		if again, err := ParseRequest(r.String()); err != nil || again != r {
			t.Errorf("asks for %+v, which is %+v, %v", r, again, err)
		}
	})
}

// FuzzFramed: nothing that comes over the local socket is more than what was there, or never ends.
func FuzzFramed(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02hi\x00\x00\x00\x00"))
	f.Add([]byte("\x80\x00\x00\x03why"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		data, err := io.ReadAll(NewFramed(duplex{bytes.NewReader(in), io.Discard}, error.Error))
		if len(data) > len(in) {
			t.Errorf("%d bytes of %d", len(data), len(in))
		}
		var out bytes.Buffer
		w := NewFramed(duplex{nil, &out}, error.Error)
		if _, werr := w.Write(data); werr != nil || w.CloseWrite() != nil {
			t.Fatal(werr)
		}
		again, rerr := io.ReadAll(NewFramed(duplex{&out, io.Discard}, error.Error))
		if rerr != nil || !bytes.Equal(again, data) {
			t.Errorf("written again: %d bytes, %v; want %d (%v)", len(again), rerr, len(data), err)
		}
	})
}
