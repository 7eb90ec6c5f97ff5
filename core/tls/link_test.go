package tls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// One Write is one raw write, up to what the gathering buffer holds, and then one for each 128 KiB.
func TestOneWriteIsOneRawWrite(t *testing.T) {
	for _, c := range []struct{ size, want int }{
		{1, 1},
		{256, 1},
		{16 << 10, 1},
		{16<<10 + 1, 1},
		{64 << 10, 1},
		{65532 + 4, 1}, // the largest frame of the mux, four whole records
		{128 << 10, 1},
		{128<<10 + 1, 2},
		{1 << 20, 8},
	} {
		t.Run(fmt.Sprintf("%d bytes", c.size), func(t *testing.T) {
			p := newUserPair(t)
			data := randomBytes(c.size)
			got := make([]byte, c.size)
			var readErr error
			var wg sync.WaitGroup
			wg.Go(func() { _, readErr = io.ReadFull(p.server, got) })
			_, before := p.clientRaw.counts()
			n, err := p.client.Write(data)
			_, after := p.clientRaw.counts()
			wg.Wait()
			if n != c.size || err != nil || readErr != nil {
				t.Fatalf("Write = %d, %v, read %v, want %d", n, err, readErr, c.size)
			}
			if writes := after - before; writes != c.want {
				t.Errorf("%d raw writes, want %d", writes, c.want)
			}
			if p.clientRaw.biggest > gatherLimit {
				t.Errorf("largest raw write %d bytes, want at most %d", p.clientRaw.biggest, gatherLimit)
			}
			if !bytes.Equal(got, data) {
				t.Error("other bytes arrived")
			}
		})
	}
}

func TestWritesOfSeveralGoroutinesStayWhole(t *testing.T) {
	p := newPair(t)
	const size, each = 40 << 10, 20 // three records
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			block := bytes.Repeat([]byte{byte(i)}, size)
			for range each {
				if _, err := p.client.Write(block); err != nil {
					t.Error(err)
				}
			}
		})
	}
	block := make([]byte, size)
	for i := range 3 * each {
		if _, err := io.ReadFull(p.server, block); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(block, bytes.Repeat(block[:1], size)) {
			t.Fatalf("block %d is mixed", i)
		}
	}
	wg.Wait()
}

func TestCloseWriteEndsOneDirection(t *testing.T) {
	p := newPair(t)
	if _, err := p.client.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := p.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p.server); string(got) != "last words" || err != nil {
		t.Fatalf("server read %q, %v, want the words and a clean end", got, err)
	}
	if _, err := p.client.Write([]byte("more")); err == nil {
		t.Error("Write after CloseWrite: no error")
	}
	if _, err := p.server.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err := p.server.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p.client); string(got) != "answer" || err != nil {
		t.Fatalf("client read %q, %v, want the answer and a clean end", got, err)
	}
}

// A stream cut between two records looks to crypto/tls like an end.
func TestCutStreamIsNotAnEnd(t *testing.T) {
	p := newPair(t)
	if _, err := p.client.Write([]byte("half of it")); err != nil {
		t.Fatal(err)
	}
	p.clientRaw.Close()
	got, err := io.ReadAll(p.server)
	if string(got) != "half of it" || !errors.Is(err, ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("read %q, %v, want the half and ErrTruncated", got, err)
	}
}

func TestChangedByteIsNoticed(t *testing.T) {
	p := newUserPair(t)
	if _, err := p.clientRaw.Write([]byte{23, 3, 3, 0, 17, 16: 0, 21: 0}); err != nil {
		t.Fatal(err)
	}
	if n, err := p.server.Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("Read of a forged record = %d, %v, want an error", n, err)
	}
	if _, err := p.client.Read(make([]byte, 10)); !errors.As(err, new(*RefusedError)) {
		t.Errorf("the other end reads %v, want the alert", err)
	}
}

func TestReadTimeoutMayBeRepeated(t *testing.T) {
	p := newPair(t)
	if err := p.server.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if _, err := p.server.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read = %v, want os.ErrDeadlineExceeded", err)
	}
	if err := p.server.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if n, err := p.server.Read(buf); string(buf[:n]) != "late" || err != nil {
		t.Fatalf("Read = %q, %v", buf[:n], err)
	}
}

// fill writes until the peer, which does not read, stops taking more.
func fill(t *testing.T, l *Link, size int) {
	t.Helper()
	data := make([]byte, size)
	for {
		if err := l.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write(data); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Write = %v, want os.ErrDeadlineExceeded", err)
			}
			return
		}
	}
}

// Whether crypto/tls or the gathering met the timeout, nothing may follow half a record.
func TestWriteTimeoutEndsTheWritingHalf(t *testing.T) {
	for _, size := range []int{1000, 64 << 10} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			p := newPair(t)
			fill(t, p.client, size)
			if err := p.client.SetWriteDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = io.Copy(io.Discard, p.server) })
			if _, err := p.client.Write([]byte("more")); err == nil {
				t.Error("Write after a timeout: no error")
			}
			if _, err := p.client.Write(make([]byte, 64<<10)); err == nil {
				t.Error("Write of several records after a timeout: no error")
			}
			p.client.Close()
			wg.Wait()
		})
	}
}

func TestCloseInterruptsBlockedReadAndWrite(t *testing.T) {
	p := newPair(t)
	started := make(chan struct{}, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		started <- struct{}{}
		if _, err := p.client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read ended with %v, want net.ErrClosed", err)
		}
	})
	wg.Go(func() {
		started <- struct{}{}
		for {
			if _, err := p.client.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	<-started
	<-started
	p.client.Close()
	wg.Wait()
	if err := p.client.Close(); err != nil {
		t.Errorf("second Close = %v, want what the first said", err)
	}
}

// A peer that stopped reading must not hold up Close for the five seconds crypto/tls would give it.
func TestCloseDoesNotWaitForAPeerThatStoppedReading(t *testing.T) {
	p := newPair(t)
	if err := p.clientRaw.SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
	// Fill the stream under the Link, so that the Link itself is in order and wants to say close_notify.
	_ = p.clientRaw.TCPConn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		if _, err := p.clientRaw.TCPConn.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	start := time.Now()
	if err := p.client.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("Close took %v, want about %v", took, closeWait)
	}
}

func TestLinkShowsItsStream(t *testing.T) {
	p := newUserPair(t)
	if p.client.NetConn() != net.Conn(p.clientRaw) {
		t.Error("NetConn is not the raw stream")
	}
	if got, want := p.client.LocalAddr(), p.server.RemoteAddr(); got.String() != want.String() {
		t.Errorf("LocalAddr = %v, the peer's RemoteAddr = %v", got, want)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{256, 16 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%d", size), func(b *testing.B) {
			p := newUserPair(b)
			_ = p.clientRaw.SetDeadline(time.Time{})
			_ = p.serverRaw.SetDeadline(time.Time{})
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = io.Copy(io.Discard, p.server) })
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			_, before := p.clientRaw.counts()
			for b.Loop() {
				if _, err := p.client.Write(data); err != nil {
					b.Fatal(err)
				}
			}
			_, after := p.clientRaw.counts()
			b.ReportMetric(float64(after-before)/float64(b.N), "rawwrites/op")
			p.client.Close()
			wg.Wait()
		})
	}
}
