package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

// holes are the actions of WANIPv6FirewallControl:1 that we need.
type holes interface {
	AddPinholeCtx(ctx context.Context, remote string, remotePort uint16, client string, port, protocol uint16, lease uint32) (id uint16, err error)
	DeletePinholeCtx(ctx context.Context, id uint16) error
}

// pinhole is one that a router has opened for us.
type pinhole struct {
	holes
	router netip.Addr // whom requests go to
	ours   netip.Addr // from where; the zero value: wherever
	id     uint16

	found   goupnp.ServiceClient // the service, as the search found it
	router4 netip.Addr           // where
}

// oursKey is from which address a context's requests leave.
type oursKey struct{}

func (h *pinhole) with(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, routerKey{}, h.router)
	return context.WithValue(ctx, oursKey{}, h.ours)
}

func (h *pinhole) add(ctx context.Context, p Protocol, ours netip.AddrPort) (id uint16, err error) {
	return h.AddPinholeCtx(h.with(ctx), "", 0, ours.Addr().String(), ours.Port(), uint16(p), uint32(wantLifetime/time.Second))
}

func (h *pinhole) close(ctx context.Context) error { return h.DeletePinholeCtx(h.with(ctx), h.id) }

// askPinhole opens one, or renews it. The router is searched for over IPv4, as goupnp does. It is asked over IPv6 first, since a careful router opens a
// hole for none but the asker's own address, and else where it was found.
func (m *Mapper) askPinhole(ctx context.Context, old lease, next *lease) error {
	if h := old.hole; h != nil {
		// Adding what is there renews it (WANIPv6FirewallControl §2.5.3). UpdatePinhole goes by the id, which a router that was started anew has given to somebody else.
		again := *h
		var err error
		if again.id, err = again.add(ctx, m.cfg.Protocol, netip.AddrPortFrom(next.ours, m.cfg.Port)); err == nil {
			next.answer, next.hole = old.answer, &again
			return nil
		}
	}
	found, router4, err := m.findPinholes(ctx, next.like)
	if err != nil {
		return err
	}
	answer, err := checked(answer{outside: netip.AddrPortFrom(next.ours, m.cfg.Port), lifetime: wantLifetime})
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range []*pinhole{overIPv6(found, next.router, next.ours), {holes: &internetgateway2.WANIPv6FirewallControl1{ServiceClient: found}, router: router4}} {
		h.found, h.router4 = found, router4
		if h.id, err = h.add(ctx, m.cfg.Protocol, answer.outside); err == nil {
			next.answer, next.hole = answer, h
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// findPinholes returns the router's service and its address there: that of another pinhole, or what a search finds.
func (m *Mapper) findPinholes(ctx context.Context, like *pinhole) (goupnp.ServiceClient, netip.Addr, error) {
	if like != nil {
		return like.found, like.router4, nil
	}
	router4, _, err := m.cfg.gateway(false)
	if err != nil {
		return goupnp.ServiceClient{}, router4, err
	}
	found, err := searchPinholes(ctx, router4)
	return found, router4, err
}

// searchPinholes finds the router's service.
func searchPinholes(ctx context.Context, router netip.Addr) (goupnp.ServiceClient, error) {
	guardOnce()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, routerKey{}, router), upnpTime)
	defer cancel()
	var found *goupnp.ServiceClient
	search(ctx, internetgateway2.URN_WANIPv6FirewallControl_1, func(c goupnp.ServiceClient) service {
		found = &c
		return nil
	})
	if found == nil {
		return goupnp.ServiceClient{}, errNoIGD
	}
	return *found, nil
}

// overIPv6 is a service at the router's address of IPv6, asked from the address that the hole is for.
func overIPv6(c goupnp.ServiceClient, router, ours netip.Addr) *pinhole {
	at := c.SOAPClient.EndpointURL
	at.Host = net.JoinHostPort(router.String(), portOf(&at))
	soapClient := soap.NewSOAPClient(at)
	soapClient.HTTPClient = *guarded
	c.SOAPClient = soapClient
	return &pinhole{holes: &internetgateway2.WANIPv6FirewallControl1{ServiceClient: c}, router: router, ours: ours}
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "80"
}

// dialRouter connects from the address that a context names, if it does.
func dialRouter(ctx context.Context, network, at string) (net.Conn, error) {
	d := net.Dialer{Timeout: upnpRequest}
	if ours, ok := ctx.Value(oursKey{}).(netip.Addr); ok && ours.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ours, 0))
	}
	return d.DialContext(ctx, network, at)
}
