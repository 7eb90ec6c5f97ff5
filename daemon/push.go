package daemon

import (
	"context"
	"net/netip"
	"time"

	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/signalling/relay"
)

// PushStatus is how the connection to a relay that pushes requests is.
type PushStatus struct {
	Relay string     `json:"relay"` // host:port
	Up    bool       `json:"up"`
	Since *time.Time `json:"since,omitempty"` // of the registration, or of its end
	Error string     `json:"error,omitempty"` // why it is not up
}

// openPush makes the route through relays.
func (d *Daemon) openPush(device *identity.Device) error {
	if d.cfg.NoPush {
		return nil
	}
	c := relay.Config{Device: device, Peers: d.contacts.Devices, Secrets: d.secrets, Watch: func(ctx context.Context, peer identity.DeviceID, each func([]netip.AddrPort) bool) {
		d.courier.WatchRelays(ctx, peer, each)
	}}
	c.Relays = pushRelaysOf(d.cfg.Relays)
	var err error
	if d.push, err = relay.New(c); err != nil {
		return wrongPush(err)
	}
	return nil
}

func wrongPush(err error) error {
	return cli.Errorf("E_CONFIG", "cannot use the relays for push").Because(err)
}

// pushRelaysOf are the relays as the route through them knows them.
func pushRelaysOf(relays []RelayConfig) (out []relay.Relay) {
	for _, r := range relays {
		own := relay.Relay{Address: r.URL.Address(), User: r.URL.User, Password: r.Password}
		if r.URL.TLS {
			own.Name = r.URL.Host
		}
		out = append(out, own)
	}
	return out
}

// pushRelays are the relays that contacts are told of.
func (d *Daemon) pushRelays() []netip.AddrPort {
	if d.push == nil {
		return nil
	}
	return d.push.Published()
}

// followNetwork has registrations looked after when this machine's addresses have changed.
func (d *Daemon) followNetwork() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.endpoint.Changed():
			d.push.Changed()
		}
	}
}

func (d *Daemon) pushStatus() (out []PushStatus) {
	if d.push == nil {
		return nil
	}
	for _, st := range d.push.States() {
		p := PushStatus{Relay: st.Relay, Up: st.Up, Error: whyError(st.Err)}
		if !st.Since.IsZero() {
			p.Since = &st.Since
		}
		out = append(out, p)
	}
	return out
}
