package daemon

import (
	"context"
	"errors"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/reason"
	"traverse.internal/dht"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/signalling"
)

// asGuest calls the inviter as the ticket's guest: a second device on this node's DHT and sockets, which lives for this one call.
func (d *Daemon) asGuest(ctx context.Context, t identity.Ticket, talk func(lines, identity.DeviceID) error) error {
	guest, err := t.Guest()
	if err != nil {
		return err
	}
	inviter := func() []identity.DeviceID { return []identity.DeviceID{t.Inviter} }
	// The direct route has one receiver on a node, which is the device's own: the guest goes by slots.
	courier, err := dht.NewCourier(d.dht, dht.CourierConfig{Device: guest, Peers: inviter, Routes: dht.RouteSlot})
	if err != nil {
		return err
	}
	signaler, err := signalling.New(signalling.Config{Device: guest, Allowed: nobody, Peers: inviter, Routes: courier.Routes(), Presence: courier})
	if err != nil {
		return err
	}
	m := connmgr.New(connmgr.Config{Device: guest, Signaler: signaler, Paths: connmgr.ICE{Endpoint: d.endpoint}, Mux: d.cfg.Mux})
	serving, stop := context.WithCancel(d.ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = m.Serve(serving)
	}()
	defer func() {
		stop()
		<-over
		<-m.Done()
	}()
	ch, _, err := m.Connect(ctx, t.Inviter, joinChannel)
	if err != nil {
		return explainJoin(err)
	}
	defer ch.Close()
	_ = ch.SetDeadline(time.Now().Add(2 * joinTimeout))
	err = talk(newLines(ch, maxJoinAnswer), guest.ID())
	var told *cli.Error
	if err != nil && !errors.As(err, &told) {
		return cli.Errorf("E_NO_PATH", "the connection to the inviter broke").Because(err).Hint("run it again: the ticket is good for this device until it expires")
	}
	if err == nil {
		_ = ch.CloseWrite()
	}
	return err
}

// explainJoin is explain for a call with a ticket.
func explainJoin(err error) error {
	if code := reason.Of(err); code == reason.NoRecord || code == reason.PeerSilent {
		return cli.Errorf("E_PEER_SILENT", "the inviter does not answer").Because(err).
			Hint("is `node up` running there, in the same DHT?").Hint("has the ticket been used, or expired? ask for another")
	}
	return explain(err, "the inviter")
}

// nobody is whose requests a guest answers.
func nobody(identity.DeviceID) bool { return false }
