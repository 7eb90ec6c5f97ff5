package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/internal/cli"
	"traverse.internal/service"
)

// Limits of what a contact may have this side listen on.
const (
	maxListens   = 16   // ports
	maxListening = 1024 // bytes of the line that says where
)

// listening is what is said on the channel of a listen request, once, as a line.
type listening struct {
	Listen string `json:"listen"`
}

// listenTask listens for a contact that may have it, as long as its channel is open. Only on loopback: what is opened to
// others is this side's to say.
func (d *Daemon) listenTask(in *connmgr.Incoming, r service.Request) {
	a, err := netip.ParseAddr(r.Host)
	if !d.contacts.policyOf(in.Peer).Listen {
		_ = in.Decline(service.ReasonUnknown)
		return
	}
	if err != nil || !a.IsLoopback() {
		_ = in.Decline("only loopback addresses are listened on")
		return
	}
	if !d.listens.enter(in.Peer) {
		_ = in.Decline(service.ReasonBusy)
		return
	}
	defer d.listens.leave(in.Peer)
	l, err := net.Listen("tcp", net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))))
	if err != nil {
		_ = in.Decline("cannot listen there: " + plainDial(err))
		return
	}
	ch, err := in.Accept()
	if err != nil {
		l.Close()
		return
	}
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	peer, _ := d.contacts.byDevice(in.Peer)
	f := &service.Forward{
		Listener: l, To: service.Request{Kind: service.KindBack, Name: r.Name}, Idle: forwardIdle, Open: d.opener(peer),
	}
	ended := make(chan struct{})
	d.tasks.Go(func() { defer close(ended); _ = f.Serve(ctx) })
	line, _ := json.Marshal(listening{l.Addr().String()})
	if _, err := ch.Write(append(line, '\n')); err == nil {
		stop := context.AfterFunc(ctx, func() { _ = ch.Reset(service.CodeEnded, "the node is going down") })
		_, _ = io.Copy(io.Discard, ch) // its end is the forward's
		stop()
	}
	cancel(errForwardGone)
	<-ended
	_ = ch.Close()
}

// askToListen has the peer listen. The channel that it returns stands for it.
func (d *Daemon) askToListen(ctx context.Context, f *forward) (*mux.Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, d.attemptTimeout()+forwardOpen)
	defer cancel()
	_, address, err := service.ParseListen(f.req.Listen)
	if err != nil {
		return nil, err
	}
	r, err := service.ParseRequest("listen/" + f.req.ID + "/" + address)
	if err != nil {
		return nil, cli.Errorf("E_USAGE", "the peer cannot listen on %s", f.req.Listen).Because(err)
	}
	ch, _, err := d.openService(ctx, f.peer, r, mux.Normal)
	if err != nil {
		return nil, err
	}
	_ = ch.SetReadDeadline(time.Now().Add(dialTime))
	line, err := bufio.NewReaderSize(io.LimitReader(ch, maxListening), maxListening).ReadBytes('\n')
	var at listening
	if err == nil {
		err = json.Unmarshal(line, &at)
	}
	if err == nil {
		_, err = netip.ParseAddrPort(at.Listen)
	}
	if err != nil {
		_ = ch.Reset(service.CodeEnded, "no answer")
		return nil, explainCut(err, f.peer.Name)
	}
	_ = ch.SetReadDeadline(time.Time{})
	f.note(true, nil)
	f.mu.Lock()
	f.bound = at.Listen
	f.mu.Unlock()
	return ch, nil
}

// whileListening returns when the peer no longer listens.
func (d *Daemon) whileListening(ctx context.Context, f *forward, ch *mux.Channel) {
	stop := context.AfterFunc(ctx, func() { _ = ch.Close() })
	_, err := io.Copy(io.Discard, ch)
	stop()
	_ = ch.Close()
	if ctx.Err() == nil {
		f.note(false, err)
	}
}

// keepListening asks again, each time it no longer is, until the forward is taken away.
func (d *Daemon) keepListening(ctx context.Context, f *forward) {
	wait := rearmFirst
	for {
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		ch, err := d.askToListen(ctx, f)
		if err != nil {
			f.note(false, err)
			wait = min(2*wait, rearmLast)
			continue
		}
		wait = rearmFirst
		d.whileListening(ctx, f, ch)
	}
}
