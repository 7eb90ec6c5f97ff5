package main

import (
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"

	"traverse.internal/config"
	"traverse.internal/internal/acme"
	"traverse.internal/internal/cli"
)

// openACME prepares the manager of the listeners' certificate, where it is to be obtained; else nil. What happens is
// logged.
func (a *app) openACME(conf config.Config, log *slog.Logger) (*acme.Manager, error) {
	c := conf.Turnd.ACME
	if len(c.Domains) == 0 {
		return nil, nil
	}
	folder := c.Folder
	if folder == "" {
		state, _, _ := strings.Cut(a.getenv("STATE_DIRECTORY"), ":") // systemd's
		if state == "" {
			return nil, cli.Errorf("E_CONFIG", "there is no folder for the certificates of turnd.acme").
				Because(errors.New("turnd.acme.folder is not set, and no service manager gave a state directory")).
				Hint("--acme-folder DIR, which is kept over restarts")
		}
		folder = filepath.Join(state, "acme")
	}
	m, err := acme.New(acme.Config{
		Domains: c.Domains, Email: c.Email, Directory: c.Directory, RootsFile: c.CA, Folder: folder,
		TLS: first(conf.Turnd.ListenTLS), HTTP: challengeAddr(c.HTTP),
		Observe: func(e acme.Event) {
			if e.Err != nil {
				log.Error("no certificate was obtained; it is tried again", "domain", e.Domain, "renewal", e.Renewal, "error", e.Err,
					"try", "the name must lead here, and the authority reach port 443 (listen_tls) or port 80 (acme.http)")
				return
			}
			log.Info("a certificate was obtained", "domain", e.Domain, "renewal", e.Renewal)
		},
	})
	if err != nil {
		return nil, cli.Errorf("E_CONFIG", "certificates cannot be obtained").Because(err).Hint("the keys of turnd.acme are in docs/config.md")
	}
	return m, nil
}

func first(addrs []netip.AddrPort) netip.AddrPort {
	if len(addrs) == 0 {
		return netip.AddrPort{}
	}
	return addrs[0]
}

// challengeAddr reads ADDRESS:PORT or :PORT, which the configuration has checked.
func challengeAddr(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at
	}
	at, _ := netip.ParseAddrPort("[::]" + s)
	return at
}
