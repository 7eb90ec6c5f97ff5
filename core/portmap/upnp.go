package portmap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

// UPnP is goupnp's; what it fetches goes through ours, which bounds it: anybody on the link can answer a search, with the
// address of anything, and with as much as they like.
const (
	upnpTime    = 3 * time.Second // of the search and the descriptions
	upnpRequest = 3 * time.Second
	maxBody     = 256 << 10 // bytes of a description or an answer
	maxServices = 8         // that are looked at
	upnpName    = "traverse"
)

var errNoIGD = errors.New("no router answers to UPnP")

// igd is the service of the router that maps ports, in whichever of its versions.
type igd struct {
	service
	router netip.Addr
}

type service interface {
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	AddPortMappingCtx(ctx context.Context, remote string, outside uint16, protocol string, port uint16, client string, enabled bool, name string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, remote string, outside uint16, protocol string) error
}

// routerKey is whose answers a context believes.
type routerKey struct{}

// guard is an http.RoundTripper that talks to the router and to nobody else, and reads no more than maxBody.
type guard struct{ to http.RoundTripper }

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	at, err := netip.ParseAddr(r.URL.Hostname())
	if router, ok := r.Context().Value(routerKey{}).(netip.Addr); err != nil || !ok || at != router || r.URL.Scheme != "http" {
		return nil, fmt.Errorf("portmap: %s is not the router's", r.URL.Host)
	}
	answer, err := g.to.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxBody), answer.Body}
	}
	return answer, err
}

// guarded is the client that goupnp gets.
var guarded = &http.Client{
	Timeout: upnpRequest,
	Transport: guard{&http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10, DialContext: dialRouter,
	}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// guardOnce puts it where goupnp looks for it, which is a variable of the package.
var guardOnce = sync.OnceFunc(func() { goupnp.HTTPClientDefault = guarded })

// discover finds the router's service. Not before, for most routers speak PCP or NAT-PMP.
func discover(ctx context.Context, router netip.Addr) (*igd, error) {
	guardOnce()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, routerKey{}, router), upnpTime)
	defer cancel()
	kinds := []struct {
		urn string
		as  func(goupnp.ServiceClient) service
	}{
		{internetgateway2.URN_WANIPConnection_2, func(c goupnp.ServiceClient) service {
			return &internetgateway2.WANIPConnection2{ServiceClient: c}
		}},
		{internetgateway2.URN_WANIPConnection_1, func(c goupnp.ServiceClient) service {
			return &internetgateway2.WANIPConnection1{ServiceClient: c}
		}},
		{internetgateway2.URN_WANPPPConnection_1, func(c goupnp.ServiceClient) service {
			return &internetgateway2.WANPPPConnection1{ServiceClient: c}
		}},
	}
	found := make([]service, len(kinds))
	var wg sync.WaitGroup
	for i, kind := range kinds {
		wg.Go(func() { found[i] = search(ctx, kind.urn, kind.as) })
	}
	wg.Wait()
	for _, s := range found {
		if s != nil {
			return &igd{s, router}, nil
		}
	}
	return nil, errNoIGD
}

// search returns the first service of a kind that is the router's.
func search(ctx context.Context, urn string, as func(goupnp.ServiceClient) service) service {
	clients, _, err := goupnp.NewServiceClientsCtx(ctx, urn)
	if err != nil {
		return nil
	}
	for _, c := range clients[:min(len(clients), maxServices)] {
		if c.SOAPClient.EndpointURL.Hostname() != ctx.Value(routerKey{}).(netip.Addr).String() {
			continue
		}
		c.SOAPClient.HTTPClient = *guarded
		return as(c)
	}
	return nil
}

func (g *igd) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, routerKey{}, g.router)
}

// add maps the port, on the same port outside if that is free, else on another one.
func (g *igd) add(ctx context.Context, p Protocol, ours netip.AddrPort) (answer, error) {
	ctx = g.with(ctx)
	said, err := g.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return answer{}, err
	}
	at, err := netip.ParseAddr(strings.TrimSpace(said))
	if err != nil {
		return answer{}, errAnswer
	}
	if _, err := checked(answer{outside: netip.AddrPortFrom(at.Unmap(), ours.Port()), lifetime: wantLifetime}); err != nil {
		return answer{}, err
	}
	lease := wantLifetime
	for try := range uint16(4) {
		outside := ours.Port() + try*4099 // somewhere else, as far as anybody may be there
		if outside < 1024 {
			outside += 1024
		}
		err = g.AddPortMappingCtx(ctx, "", outside, p.String(), ours.Port(), ours.Addr().String(), true, upnpName, uint32(lease/time.Second))
		if err != nil && permanentOnly(err) {
			lease = 0
			err = g.AddPortMappingCtx(ctx, "", outside, p.String(), ours.Port(), ours.Addr().String(), true, upnpName, 0)
		}
		if err == nil {
			// A permanent one is renewed as if it ended, since a router that is started anew forgets it.
			return checked(answer{outside: netip.AddrPortFrom(at.Unmap(), outside), lifetime: wantLifetime})
		}
	}
	return answer{}, err
}

// permanentOnly reports whether a router takes no mapping that ends (OnlyPermanentLeasesSupported).
func permanentOnly(err error) bool {
	var fault *soap.SOAPFaultError
	return errors.As(err, &fault) && fault.Detail.UPnPError.Errorcode == 725
}

func (g *igd) remove(ctx context.Context, p Protocol, outside uint16) error {
	return g.DeletePortMappingCtx(g.with(ctx), "", outside, p.String())
}

func (m *Mapper) askUPnP(ctx context.Context, old lease, next *lease) (err error) {
	if next.upnp = old.upnp; next.upnp == nil {
		if next.upnp, err = discover(ctx, next.router); err != nil {
			return err
		}
	}
	next.answer, err = next.upnp.add(ctx, m.cfg.Protocol, netip.AddrPortFrom(next.ours, m.cfg.Port))
	return err
}
