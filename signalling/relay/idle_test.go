package relay

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"traverse.internal/core/pushwire"
	"traverse.internal/identity"
	"traverse.internal/turn/push"
)

// counted counts what goes over a connection, without the headers below.
type counted struct {
	net.Conn
	writes, bytes atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	c.bytes.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// TestIdleCost: what a registration with 20 contacts costs in an idle hour, as docs/protocol/push.md section 4 says.
func TestIdleCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*identity.Device
		for range 21 {
			d, err := identity.New()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		r, err := New(Config{Device: all[0], Peers: func() (ids []identity.DeviceID) {
			for _, d := range all {
				ids = append(ids, d.ID())
			}
			return ids
		}})
		if err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		up, down := &counted{Conn: a}, &counted{Conn: b}
		hub, served := push.New(push.Limits{}), make(chan error, 1)
		server := stdtls.Server(down, &stdtls.Config{Certificates: []stdtls.Certificate{all[1].Certificate()}, NextProtos: []string{pushwire.ALPN}, SessionTicketsDisabled: true})
		go func() {
			served <- hub.Serve(server, push.Peer{Source: netip.MustParseAddr("192.0.2.1"), Known: func() {}, Authenticate: func(f pushwire.Frame) (string, pushwire.Instance, pushwire.Proof, bool) {
				return "anna", f.Instance, pushwire.Proof{}, true
			}})
		}()
		conn := stdtls.Client(up, unvouched())
		l := &link{conn: conn, in: pushwire.NewReader(conn), waiting: map[pushwire.Tag]chan pushwire.Frame{}, ended: make(chan struct{})}
		k := newKeeper(r, Relay{}) // without a user: no proof
		if err := k.register(l); err != nil {
			t.Fatal(err)
		}
		go l.readLoop(nil)
		known := &learnt{}
		if err := known.tell(r, l, time.Now()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		from := [4]int64{up.writes.Load(), up.bytes.Load(), down.writes.Load(), down.bytes.Load()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour+time.Second)
		defer cancel()
		if err := k.hold(ctx, l, known); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("held until %v", err)
		}
		synctest.Wait()
		writesUp, bytesUp := up.writes.Load()-from[0], up.bytes.Load()-from[1]
		writesDown, bytesDown := down.writes.Load()-from[2], down.bytes.Load()-from[3]
		t.Logf("an hour: %d writes and %d bytes up, %d and %d down", writesUp, bytesUp, writesDown, bytesDown)
		// 144 pings of 25 bytes each way; the list two or three times, of up to 40 mailboxes, 32 bytes more a contact than nothing.
		if writesDown != 144 || bytesDown != 144*25 || writesUp < 146 || writesUp > 147 || bytesUp > 144*25+3*(40*16+30) {
			t.Errorf("that is not what the page says")
		}
		if n := hub.Stats().Mailboxes; n < 20 || n > 40 {
			t.Errorf("%d mailboxes of 20 contacts", n)
		}
		l.kill()
		<-l.ended
		<-served
	})
}
