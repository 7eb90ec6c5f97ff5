package main

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"traverse.internal/core/tls"
	"traverse.internal/core/turnclient"
	"traverse.internal/identity"
)

// Our links: TLS 1.3 between two devices over loopback TCP. The devices are made for
// each run and tell each other their ids in the first 32 bytes of the raw
// connection, which only a benchmark may do.

func listenLink(say func(string)) (func(ctx context.Context) (*tls.Link, error), error) {
	dev, err := identity.New()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", listenAddr())
	if err != nil {
		return nil, err
	}
	say(l.Addr().String())
	return func(ctx context.Context) (*tls.Link, error) {
		defer l.Close()
		raw, err := l.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := swapIDs(raw, dev.ID())
		if err != nil {
			raw.Close()
			return nil, err
		}
		tune(raw)
		return tls.AsServer(ctx, raw, nil, dev, peer)
	}, nil
}

func dialLink(ctx context.Context, addr string) (*tls.Link, error) {
	raw, err := net.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	return secure(ctx, raw)
}

func secure(ctx context.Context, raw net.Conn) (*tls.Link, error) {
	dev, err := identity.New()
	if err != nil {
		return nil, err
	}
	peer, err := swapIDs(raw, dev.ID())
	if err != nil {
		raw.Close()
		return nil, err
	}
	tune(raw)
	return tls.AsClient(ctx, raw, nil, dev, peer)
}

// tune does as package connmgr does: little waits in the kernel that has never been sent.
func tune(raw net.Conn) {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return
	}
	if control, err := sc.SyscallConn(); err == nil {
		_ = control.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16<<10) })
	}
}

// dialRaw connects, through an allocation of a TURN server unless that is empty. Release ends the allocation.
func dialRaw(ctx context.Context, server, addr string) (raw net.Conn, release func(), err error) {
	if server == "" {
		raw, err = net.Dial("tcp4", addr)
		return raw, func() {}, err
	}
	at, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, nil, err
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, nil, err
	}
	client, err := turnclient.Dial(ctx, turnclient.Config{Server: at, Username: relayUser, Password: relayPassword})
	if err != nil {
		return nil, nil, err
	}
	allocation, err := client.Allocate(ctx, turnclient.IPv4)
	if err == nil {
		err = allocation.Permit(ctx, to.Addr())
	}
	if err == nil {
		raw, err = allocation.Connect(ctx, to)
	}
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return raw, func() { client.Close() }, nil
}

func swapIDs(raw net.Conn, own identity.DeviceID) (peer identity.DeviceID, err error) {
	if err = raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return peer, err
	}
	if _, err = raw.Write(own[:]); err != nil {
		return peer, err
	}
	for n := 0; n < len(peer); {
		k, err := raw.Read(peer[n:])
		if err != nil {
			return peer, err
		}
		n += k
	}
	return peer, raw.SetDeadline(time.Time{})
}

// yamuxOnLink is yamux over our link, which gathers its records into one write. It
// is no opponent, since nobody has it; it shows which part of a ratio is the TLS
// and which the mux.
type yamuxOnLink struct{}

func (yamuxOnLink) receive(ctx context.Context, _ []string, say func(string)) (report, error) {
	accept, err := listenLink(say)
	if err != nil {
		return report{}, err
	}
	link, err := accept(ctx)
	if err != nil {
		return report{}, err
	}
	return yamuxMux.receiveOn(link)
}

func (yamuxOnLink) send(ctx context.Context, addr string, args []string) (report, error) {
	link, err := dialLink(ctx, addr)
	if err != nil {
		return report{}, err
	}
	return yamuxMux.sendOn(link, args)
}
