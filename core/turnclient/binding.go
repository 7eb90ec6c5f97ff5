package turnclient

import (
	"context"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// Binding asks a server, over a connection to it that the caller made, how it sees that connection: the reflexive address
// of RFC 8489 §2, over TCP. Of the Config it uses Host for errors, TLS and Timeout. The connection stays open, and with it
// what a NAT remembers of it; with TLS it is of no further use than that.
func Binding(ctx context.Context, conn *net.TCPConn, cfg Config) (netip.AddrPort, error) {
	if err := cfg.check(); err != nil {
		return netip.AddrPort{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	fail := func(op string, err error) (netip.AddrPort, error) {
		return netip.AddrPort{}, failure(ctx, cfg.target(), op, err)
	}
	secured, err := cfg.secure(ctx, conn)
	if err != nil {
		return fail("tls handshake", err)
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer unhook()
	id := stun.NewTransactionID()
	op := stun.MethodBinding.String()
	if _, err := secured.Write(appendRequest(nil, stun.MethodBinding, id, credentials{}, func(*stun.Builder) {})); err != nil {
		return fail(op, err)
	}
	b, err := readFrame(secured)
	if err != nil {
		return fail(op, err)
	}
	m, err := stun.Parse(b)
	if err != nil || m.TransactionID() != id || m.Type() != stun.MethodBinding.Success() {
		return fail(op, ErrGarbage)
	}
	mapped, err := m.XORAddr(stun.AttrXORMappedAddress)
	if err != nil {
		return fail(op, ErrGarbage)
	}
	return netip.AddrPortFrom(mapped.Addr().Unmap(), mapped.Port()), nil
}
