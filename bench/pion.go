package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	pionturn "github.com/pion/turn/v2"
)

// pionRole is pion/turn's server as a child of its own, with an allocation for everybody who has the password. It has UDP over
// IPv4 and nothing else.
const pionRole = "pion relay"

func runPion(ctx context.Context, args []string, stderr io.Writer) int {
	err := servePion(ctx, args)
	if err != nil {
		fmt.Fprintf(stderr, "bench: %s: %v\n", pionRole, err)
		return 1
	}
	return 0
}

func servePion(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want an address, have %q", args)
	}
	addr, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp4", addr.String())
	if err != nil {
		return err
	}
	key := pionturn.GenerateAuthKey(relayUser, relayRealm, relayPassword)
	server, err := pionturn.NewServer(pionturn.ServerConfig{
		Realm:       relayRealm,
		AuthHandler: func(user, _ string, _ net.Addr) ([]byte, bool) { return key, user == relayUser },
		PacketConnConfigs: []pionturn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: &pionturn.RelayAddressGeneratorStatic{RelayAddress: addr.Addr().AsSlice(), Address: addr.Addr().String()},
		}},
	})
	if err != nil {
		conn.Close()
		return err
	}
	<-ctx.Done()
	return server.Close()
}
