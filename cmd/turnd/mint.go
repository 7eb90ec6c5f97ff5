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
func (o *operator) reloadMint(conf config.Config) error {
	if o.mint == nil || conf.Turnd.Mint.Listen == "" { // beginning and ending take a restart
		return nil
	}
	c, err := turndconf.Mint(conf)
	if err != nil {
		return err
	}
	if err := o.mint.Set(c); err != nil {
		return cli.Errorf("E_CONFIG", "the endpoint that mints credentials stays as it was").Because(err)
	}
	return nil
}

// protect keeps relays from an address of the administration, whatever --allow-peer names.
func (o *operator) protect(address string) {
	if at, err := netip.ParseAddrPort(address); err == nil {
		o.admin = append(o.admin, at)
	}
}
