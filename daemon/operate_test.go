package daemon

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"traverse.internal/config"
	"traverse.internal/internal/turndconf"
)

// The relay inside a node has turnd's admin socket, and reloads with a signal; drained, it leaves the node up.
func TestEmbeddedRelayIsOperated(t *testing.T) {
	h := newHome(t, "alone")
	dir := filepath.Dir(h.Socket)
	loop := netip.MustParseAddr("127.0.0.1")
	conf := config.Default()
	conf.Turnd.Enabled, conf.Turnd.ListenUDP, conf.Turnd.ListenTCP, conf.Turnd.RelayIP4 = true, []netip.AddrPort{netip.AddrPortFrom(loop, 0)}, nil, loop
	relay, err := turndconf.Build(conf)
	if err != nil {
		t.Fatal(err)
	}
	hup, loads := make(chan os.Signal), make(chan struct{}, 10)
	cfg := Config{Home: h, Turnd: &relay, Operate: &Operation{HUP: hup, Conf: conf, Load: func() (config.Config, error) {
		loads <- struct{}{}
		return conf, nil
	}}}
	cfg.DHT.Private, cfg.DHT.Listen = true, netip.AddrPortFrom(loop, 0)
	d := serve(t, cfg)
	hup <- syscall.SIGHUP
	<-loads
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "turnd.sock"))
		},
	}}
	for _, path := range []string{"/v1/reload", "/v1/drain?grace=0s"} {
		resp, err := client.Post("http://turnd"+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	<-loads
	if _, err := NewClient(h.Socket).Status(t.Context()); err != nil {
		t.Errorf("the node after its relay has drained: %v", err)
	}
	d.down()
}
