package daemon

import (
	"context"
	"io"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
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

// Ping opens a channel to a contact, sends a byte and waits for it. It tells how long the channel took to open (with
// the session, where there was none), how long the byte took, and which way it went.
func (d *Daemon) Ping(ctx context.Context, who string) (open, echo time.Duration, path *Path, err error) {
	to, err := d.contacts.Resolve(who)
	if err != nil {
		return 0, 0, nil, err
	}
	began := time.Now()
	ch, info, err := d.manager.Connect(ctx, to.Device, pingChannel)
	if err != nil {
		return 0, 0, nil, explain(err, to.Name)
	}
	defer ch.Close()
	ch.SetPriority(mux.Interactive)
	open = time.Since(began)
	if t, ok := ctx.Deadline(); ok {
		_ = ch.SetDeadline(t)
	}
	began = time.Now()
	var b [1]byte
	if _, err = ch.Write(b[:]); err == nil {
		_, err = io.ReadFull(ch, b[:])
	}
	if err != nil {
		return open, 0, pathOf(info.Route), explain(err, to.Name)
	}
	return open, time.Since(began), pathOf(info.Route), nil
}
