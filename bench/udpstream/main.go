// Command udpstream compares reliable streams over one lossy line in this process: core/arq, pion/sctp and quic-go.
//
//	cd bench/udpstream && go run .
//
// For each line it prints, per stream, the bytes that arrived in a time, the CPU that both ends and the line took per GB, and the
// 50th and 99th percentile of a 100-byte ping there and back on a stream of its own. arq and sctp run bare, as they do inside DTLS; QUIC
// cannot run without its own TLS 1.3, whose cost is in its figures.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/logging"
	"github.com/pion/sctp"
	"github.com/quic-go/quic-go"

	"traverse.internal/core/arq"
	"traverse.internal/internal/lossy"
)

const (
	bulkTime = 3 * time.Second
	pings    = 150
	pingTime = 6 * time.Second
)

func main() {
	streams := []struct {
		name string
		open func(a, b *lossy.End) (io.ReadWriter, io.ReadWriter, func(), error)
	}{{"arq", openARQ}, {"sctp", openSCTP}, {"quic", openQUIC}}
	fmt.Println("| round trip | loss | stream | MB/s | CPU s/GB | ping p50 | ping p99 |\n|---|---|---|---|---|---|---|")
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
		for _, loss := range []float64{0, 0.01} {
			for _, s := range streams {
				line := lossy.Config{Delay: rtt / 2, Loss: loss, Seed: 1}
				bytes, cpu, err := bulk(line, s.open)
				if err == nil {
					var p50, p99 time.Duration
					if p50, p99, err = ping(line, s.open); err == nil {
						mb := float64(bytes) / 1e6
						fmt.Printf("| %v | %g %% | %s | %.1f | %.1f | %v | %v |\n", rtt, loss*100, s.name,
							mb/bulkTime.Seconds(), cpu.Seconds()/mb*1e3, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond))
						continue
					}
				}
				fmt.Printf("| %v | %g %% | %s | %v |\n", rtt, loss*100, s.name, err)
			}
		}
	}
}

type opener = func(a, b *lossy.End) (io.ReadWriter, io.ReadWriter, func(), error)

func bulk(line lossy.Config, open opener) (int64, time.Duration, error) {
	a, b, done, err := open(lossy.Pair(line))
	if err != nil {
		return 0, 0, err
	}
	defer done()
	var got atomic.Int64
	go func() {
		buf := make([]byte, 256<<10)
		for {
			n, err := b.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	before := cpuTime()
	go func() {
		buf := make([]byte, 32<<10)
		for {
			if _, err := a.Write(buf); err != nil {
				return
			}
		}
	}()
	time.Sleep(bulkTime)
	return got.Load(), cpuTime() - before, nil
}

func ping(line lossy.Config, open opener) (p50, p99 time.Duration, err error) {
	a, b, done, err := open(lossy.Pair(line))
	if err != nil {
		return 0, 0, err
	}
	defer done()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			if _, err := b.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	var took []time.Duration
	buf := make([]byte, 64<<10)
	for end := time.Now().Add(pingTime); len(took) < pings && time.Now().Before(end); {
		began := time.Now()
		if _, err := a.Write(make([]byte, 100)); err != nil {
			return 0, 0, err
		}
		for n := 0; n < 100; {
			m, err := a.Read(buf)
			if err != nil {
				return 0, 0, err
			}
			n += m
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func openARQ(a, b *lossy.End) (io.ReadWriter, io.ReadWriter, func(), error) {
	x, y := arq.New(a, arq.Config{}), arq.New(b, arq.Config{})
	return x, y, func() { x.Close(); y.Close() }, nil
}

// conn makes a net.Conn of packets of an end.
type conn struct {
	*lossy.End
	queue [][]byte
}

func (c *conn) Read(p []byte) (int, error) {
	for len(c.queue) == 0 {
		if err := c.Receive(func(b []byte) { c.queue = append(c.queue, slices.Clone(b)) }); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.queue[0])
	c.queue = c.queue[1:]
	return n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	_, err := c.Send([][]byte{p})
	return len(p), err
}

func (c *conn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.Read(p)
	return n, c.RemoteAddr(), err
}
func (c *conn) WriteTo(p []byte, _ net.Addr) (int, error) { return c.Write(p) }
func (c *conn) SetDeadline(t time.Time) error             { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error          { return nil }

func openSCTP(a, b *lossy.End) (io.ReadWriter, io.ReadWriter, func(), error) {
	cfg := func(e *lossy.End) sctp.Config {
		return sctp.Config{NetConn: &conn{End: e}, LoggerFactory: logging.NewDefaultLoggerFactory(), MaxReceiveBufferSize: 8 << 20, BlockWrite: true}
	}
	server := make(chan *sctp.Association, 1)
	go func() {
		s, _ := sctp.Server(cfg(b))
		server <- s
	}()
	c, err := sctp.Client(cfg(a))
	if err != nil {
		return nil, nil, nil, err
	}
	s := <-server
	x, err := c.OpenStream(1, sctp.PayloadTypeWebRTCBinary)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := x.Write([]byte{0}); err != nil {
		return nil, nil, nil, err
	}
	y, err := s.AcceptStream()
	if err != nil {
		return nil, nil, nil, err
	}
	_, err = y.Read(make([]byte, 10))
	return x, y, func() { a.Close(); b.Close(); c.Close(); s.Close() }, err
}

func openQUIC(a, b *lossy.End) (io.ReadWriter, io.ReadWriter, func(), error) {
	public, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, nil, nil, err
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	cfg := &quic.Config{MaxStreamReceiveWindow: 8 << 20, MaxConnectionReceiveWindow: 8 << 20}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tx, ty := &quic.Transport{Conn: &conn{End: a}}, &quic.Transport{Conn: &conn{End: b}}
	l, err := ty.Listen(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"x"}}, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := tx.Dial(ctx, a.RemoteAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}}, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := l.Accept(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	x, err := c.OpenStream()
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := x.Write([]byte{0}); err != nil {
		return nil, nil, nil, err
	}
	y, err := s.AcceptStream(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	_, err = y.Read(make([]byte, 10))
	return x, y, func() { _ = c.CloseWithError(0, ""); a.Close(); b.Close() }, err
}
