package main

import (
	"net/netip"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/turndconf"
	"traverse.internal/turn/mint"
)

// listenMint opens the endpoint that makes credentials for a web application, where one is configured; else nil.
func listenMint(conf config.Config) (*mint.Server, error) {
	if conf.Turnd.Mint.Listen == "" {
		return nil, nil
	}
	c, err := turndconf.Mint(conf)
	if err != nil {
		return nil, err
	}
	s, err := mint.Listen(conf.Turnd.Mint.Listen, c)
	if err != nil {
		return nil, explainListen(err, "--mint-listen")
	}
	return s, nil
}

// reloadMint puts the configuration of the endpoint in force.
func reloadMint(minter *mint.Server, conf config.Config) error {
	if minter == nil || conf.Turnd.Mint.Listen == "" { // beginning and ending take a restart
		return nil
	}
	c, err := turndconf.Mint(conf)
	if err != nil {
		return err
	}
	if err := minter.Set(c); err != nil {
		return cli.Errorf("E_CONFIG", "the endpoint that mints credentials stays as it was").Because(err)
	}
	return nil
}

// mintAddrs is where the endpoint listens: no address, or one.
func mintAddrs(minter *mint.Server) []netip.AddrPort {
	if minter == nil {
		return nil
	}
	at, err := netip.ParseAddrPort(minter.Addr().String())
	if err != nil {
		return nil
	}
	return []netip.AddrPort{at}
}
