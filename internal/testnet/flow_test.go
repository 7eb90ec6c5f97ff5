package testnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"time"

	"traverse.internal/connmgr"
)

// observe tells the test of moves from path to path.
func (d *device) observe(e connmgr.Event) {
	if e.Kind == connmgr.EventPath {
		d.write(message{Kind: "path", Device: e.Peer, Route: e.Route, Reason: e.Reason})
	}
}

// flow sends to the device, and takes back what it echoes, until the test says stop. It says first which way it began.
func (d *device) flow(m message) {
	out := message{Kind: "flowed", Device: m.Device}
	ch, info, err := d.m.ConnectWith(context.Background(), m.Device, "echo", connmgr.Options{Timeout: 30 * time.Second})
	if err != nil {
		out.Error = err.Error()
		d.write(out)
		return
	}
	d.write(message{Kind: "connected", Device: m.Device, Route: info.Route})
	sent, got := sha256.New(), sha256.New()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.MultiWriter(got, writerFunc(func(b []byte) (int, error) {
			d.back.Add(int64(len(b)))
			return len(b), nil
		})), ch)
		ended <- err
	}()
	src, buf := rand.NewChaCha8([32]byte{1}), make([]byte, 64<<10)
	for more := true; more && err == nil; {
		select {
		case <-d.stop:
			more = false
			err = ch.CloseWrite()
		default:
			_, _ = src.Read(buf)
			sent.Write(buf)
			var n int
			n, err = ch.Write(buf)
			out.Bytes += int64(n)
		}
	}
	if err == nil {
		err = <-ended
	}
	switch {
	case err != nil:
		out.Error = err.Error()
	case !bytes.Equal(sent.Sum(nil), got.Sum(nil)):
		out.Error = "what came back is not what was sent"
	}
	d.write(out)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
