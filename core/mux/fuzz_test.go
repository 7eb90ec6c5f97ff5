package mux_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"traverse.internal/core/framing"
	"traverse.internal/core/mux"
)

// tape is a link whose other side said all it has to say beforehand and does not care what it is told.
type tape struct {
	io.Reader
}

func (tape) Write(p []byte) (int, error) { return len(p), nil }
func (tape) Close() error                { return nil }

// FuzzSession plays any bytes to a session behind a right HELLO. It must not panic, must not hold more than its
// windows, and must end.
func FuzzSession(f *testing.F) {
	var codec framing.Native
	const id = framing.FirstOfferer
	data := func(id framing.ChannelID, n int) []byte {
		return append(framing.AppendHeader(nil, framing.Header{Length: uint16(n), Channel: id}), make([]byte, n)...)
	}
	request := codec.AppendControl(nil, &framing.ChannelRequest{ID: id, Name: "fuzz"})
	seeds := [][]byte{
		nil,
		request,
		append(bytes.Clone(request), data(id, 5)...),
		codec.AppendControl(nil, &framing.Ack{Count: 3}),
		codec.AppendControl(nil, &framing.Max{Channel: id, Offset: 1 << 62}),
		codec.AppendControl(nil, &framing.MaxSession{Offset: 1 << 62}),
		codec.AppendControl(nil, &framing.Beacon{Nonce: 1}),
		codec.AppendControl(nil, &framing.Reset{Channel: id, Code: 1}),
		codec.AppendControl(nil, &framing.GoAway{}),
		codec.AppendControl(nil, &framing.GoAway{Code: 9}),
		codec.AppendControl(nil, &framing.Resume{}),
		codec.AppendControl(nil, &framing.ChannelRequest{ID: 1, Name: "x", IsAnswer: true, Accepted: true}),
		data(id, 65535),
		data(id, 65535)[:1000],
		{0xff, 0xff, 0, 0},
		{0, 0, 0xff, 0xff},
	}
	all := bytes.Clone(request)
	for range 5 {
		all = append(all, data(id, 60_000)...)
	}
	for _, s := range append(seeds, all) {
		f.Add(s, uint16(0))
		f.Add(append(bytes.Clone(request), s...), uint16(1))
	}
	hello := codec.AppendControl(nil, &framing.Hello{
		Version: 1, SessionID: [16]byte{1}, MaxBody: framing.MaxBody, InitialWindow: framing.MinInitialWindow,
		SessionWindow: framing.MinSessionWindow, MaxChannels: 16,
	})
	f.Fuzz(func(t *testing.T, b []byte, mode uint16) {
		link := tape{io.MultiReader(bytes.NewReader(hello), bytes.NewReader(b))}
		op, err := mux.Receive(link)
		if err != nil {
			t.Fatal(err)
		}
		s, err := mux.Answer(link, op, mux.Config{SessionWindow: framing.MinSessionWindow, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var channels []*mux.Channel
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			for {
				r, err := s.Accept(ctx)
				if err != nil {
					return
				}
				if ch, err := r.Accept(); err == nil {
					channels = append(channels, ch)
					switch mode % 3 {
					case 0:
						go func() { _, _ = io.Copy(io.Discard, ch) }()
					case 1:
						go func() { _, _ = ch.Write(make([]byte, 1<<20)) }()
					}
				}
			}
		}()
		if mode%2 == 1 {
			go func() {
				if ch, err := s.Open(ctx, "ours"); err == nil {
					ch.Close()
				}
			}()
		}
		<-s.LinkDown() // the tape has ended, or the session
		if m := s.Stats().ReceiveMemory; m > 5*framing.MinSessionWindow {
			t.Errorf("%d bytes of receive buffers", m)
		}
		s.Close()
		<-accepted
		for _, ch := range channels {
			ch.Close()
		}
	})
}

// FuzzReceive reads any first frame, and not a byte behind it.
func FuzzReceive(f *testing.F) {
	var codec framing.Native
	f.Add(append(codec.AppendControl(nil, &framing.Resume{SessionID: [16]byte{1}, Epoch: 3}), "behind"...))
	f.Add(codec.AppendControl(nil, &framing.GoAway{Code: 7}))
	f.Add([]byte{0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		op, err := mux.Receive(in)
		if err != nil {
			return
		}
		if (op.Hello == nil) == (op.Resume == nil) {
			t.Errorf("opening %+v: not one of the two", op)
		}
		h, err := framing.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if read := len(b) - in.Len(); read != framing.HeaderLen+int(h.Length) {
			t.Errorf("read %d bytes, the frame has %d", read, framing.HeaderLen+int(h.Length))
		}
	})
}
