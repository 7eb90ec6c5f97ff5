package daemon

import (
	"context"
	"io"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/internal/cli"
)

// pingChannel is the service every node offers its contacts: what comes is sent back.
const pingChannel = "ping"

// Limits of one ping channel: it measures, it does not carry.
const (
	maxPing     = 1 << 20
	pingTimeout = 30 * time.Second
)

// pingTask echoes until the other side ends, a limit is reached, or time is over.
func pingTask(in *connmgr.Incoming) {
	ch, err := in.Accept()
	if err != nil {
		return // the channel was gone before it was accepted
	}
	ch.SetPriority(mux.Interactive)
	_ = ch.SetDeadline(time.Now().Add(pingTimeout))
	_, _ = io.Copy(ch, io.LimitReader(ch, maxPing))
	_ = ch.Close()
}

// Ping is Probe with one byte.
func (d *Daemon) Ping(ctx context.Context, who string) (open, echo time.Duration, path *Path, err error) {
	p, err := d.Probe(ctx, PingRequest{Peer: who, Size: 1})
	return p.Open, p.Echo, p.Path, err
}

// PingRequest says whom to ping, and with how much.
type PingRequest struct {
	Peer string `json:"peer"`
	Size int    `json:"size"` // bytes that go there and back, 1 to 65,536
}

// Pong is one ping: how long the channel took to open (with the session, where there was none), how long the bytes took
// there and back, and which way they went.
type Pong struct {
	cli.Envelope
	Peer PeerRef       `json:"peer"`
	Size int           `json:"size"`
	Open time.Duration `json:"open_ns"`
	Echo time.Duration `json:"echo_ns"`
	Path *Path         `json:"path,omitempty"`
}

// maxPingSize is far below a channel's first window, so that writing first and reading then cannot stand still.
const maxPingSize = 64 << 10

// Probe opens a channel to a contact, sends bytes and waits for them.
func (d *Daemon) Probe(ctx context.Context, req PingRequest) (p Pong, err error) {
	if req.Size < 1 || req.Size > maxPingSize {
		return p, cli.Errorf("E_USAGE", "a ping has 1 to %d bytes, not %d", maxPingSize, req.Size).Hint("node ping -h")
	}
	to, err := d.contacts.Resolve(req.Peer)
	if err != nil {
		return p, err
	}
	p = Pong{Envelope: envelope("pong"), Peer: PeerRef{to.Name, to.Device.String()}, Size: req.Size}
	began := time.Now()
	ch, info, err := d.manager.Connect(ctx, to.Device, pingChannel)
	if err != nil {
		return p, explain(err, to.Name)
	}
	defer ch.Close()
	ch.SetPriority(mux.Interactive)
	p.Open, p.Path = time.Since(began), pathOf(info.Route)
	if t, ok := ctx.Deadline(); ok {
		_ = ch.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { _ = ch.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	began = time.Now()
	b := make([]byte, req.Size)
	if _, err = ch.Write(b); err == nil {
		_, err = io.ReadFull(ch, b)
	}
	if err != nil {
		return p, explain(err, to.Name)
	}
	p.Echo = time.Since(began)
	return p, nil
}
